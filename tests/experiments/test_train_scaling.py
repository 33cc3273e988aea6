"""The scaling of a training on virtual devices: what it compares and what it predicts."""

import pytest

from drf_jax.networks.dit import DiT

TINY = DiT(channels=4, patch=2, width=8, depth=1, heads=2, num_classes=3)


@pytest.fixture(scope="module")
def scaling(experiment):
    return experiment("train_scaling")


@pytest.mark.slow
def test_every_layout_is_compared_with_one_device(scaling, quick_compile):
    teacher = scaling.Teacher("tiny", TINY, (4, 4, 4), 2)
    with quick_compile():
        one, *rows = scaling.measurements(teacher, ["replicate", "fsdp"], [2], 2)
    assert [(r["layout"], r["devices"], r["batch"]) for r in rows] == [
        ("replicate", 2, 4),
        ("fsdp", 2, 4),
    ]
    for r in rows:
        assert r["params"] == one["params"]
        assert r["efficiency"] == pytest.approx(one["p50_ms"] / r["p50_ms"])
        assert r["predicted"] == pytest.approx(one["p50_ms"] / (one["p50_ms"] + r["sum_ms"]))
        assert r["images_per_second"] == pytest.approx(4e3 / r["p50_ms"])


def test_the_command_leaves_out_the_folder(experiment):
    typed = experiment("measuring").typed
    argv = ["/x/train_scaling.py", "--out", "/a b", "--batch=3", "--out=/c", "--smoke"]
    assert typed(argv) == "python experiments/train_scaling.py --batch=3 --smoke"
