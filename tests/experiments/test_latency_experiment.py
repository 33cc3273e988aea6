"""The latency experiment at real size, on a tiny network: what it counts, saves and goes on with."""

import collections
import dataclasses
import json
import sys

import jax
import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation.report import read_results
from drf_jax.networks.autoencoder import Autoencoder
from drf_jax.networks.dit import DiT
from drf_jax.sampling.loops import COMPILED, PYTHON

TINY = DiT(channels=4, patch=2, width=8, depth=1, heads=2, num_classes=3)
CONFIG = {"dtype": "float32"}


@pytest.fixture(scope="module")
def latency(experiment):
    module = experiment("latency")
    module.matrix_rate = lambda dtype: 1e9
    return module


@pytest.fixture(autouse=True)
def quick(quick_compile):
    with quick_compile():
        yield


def plan(latency, **changes):
    options = {"pixels": (32,), "guidance": (4.0,), "steps": 8, "dtype": "float32"}
    return latency.Plan(networks={"tiny": TINY}, **(options | changes))


def work(latency, *args, call_batches=(1, 2), **changes):
    effort = latency.Effort(repeats=2)
    return latency.jobs(latency.subjects(plan(latency, **changes)), [1], call_batches, effort)


@pytest.mark.slow
def test_every_cell_is_measured_and_the_table_is_last(latency, tmp_path, capsys):
    autoencoder = Autoencoder(widths=(32, 32, 32, 32), blocks=1)
    latency.main(work(latency, autoencoder=autoencoder), tmp_path, CONFIG, "as tested", 0, False)
    (path,) = (tmp_path / "results").glob("latency_*.json")
    rows, found = read_results(path)["rows"], json.loads(path.read_text())
    costs = {r["method"]: (r["sequential_calls"], r["network_evaluations"]) for r in rows}
    assert costs == {
        "learned-4": (4, 12),
        "driffusion-aggressive-3": (3, 9),
        "driffusion-conservative-4": (4, 10),
        "ddim-8": (8, 8),
    }
    assert len(rows) == len(costs)
    of = {r["method"]: r["cross_draft"] for r in rows if "cross_draft" in r}
    assert of == {"learned-4": "every block, full width"}
    for r in rows:
        assert r["weights"] == "random" and r["decoder"] == "autoencoder" and r["batch"] == 1
        assert 0 < r["p50_ms"] <= r["p95_ms"] and r["mfu"] > 0 and r["memory_bytes"] > 0
        assert r["images_per_second"] == pytest.approx(1e3 / r["p50_ms"])
    calls = [(c["network"], c["resolution"], c["batch"]) for c in found["calls"]]
    assert calls == [("tiny", 32, 1), ("tiny", 32, 2), ("decoder", 32, 1)]
    one, two, _ = found["calls"]
    assert one["over_one"] == 1 and two["over_one"] == two["p50_ms"] / one["p50_ms"]
    assert [(e["of"], e["resolution"]) for e in found["fits"]] == [("batch", 32)]
    assert (tmp_path / "docs" / "pictures" / f"{path.stem}.png").exists()
    assert (
        capsys.readouterr()
        .out.rstrip()
        .splitlines()[-1]
        .startswith("| tiny | xla | 32 | 4 | ddim-8")
    )


@pytest.mark.slow
def test_resume_measures_what_is_missing_and_the_deadline_stops_it(latency, tmp_path, capsys):
    args = (tmp_path, CONFIG, "as tested")
    only = {"methods": ("ddim",), "call_batches": (1,)}
    latency.main(work(latency, **only), *args, 0, False)
    (path,) = (tmp_path / "results").glob("*.json")
    before = json.loads(path.read_text())
    more = only | {"methods": ("ddim", "aggressive")}
    latency.main(work(latency, **more), *args, 1e-9, True)
    assert "seconds are nearly over" in capsys.readouterr().err
    assert json.loads(path.read_text()) == before
    latency.main(work(latency, **more), *args, 0, True)
    after = json.loads(path.read_text())
    assert after["rows"][0] == before["rows"][0] and after["calls"] == before["calls"]
    assert [r["method"] for r in after["rows"]] == ["ddim-8", "driffusion-aggressive-3"]


def test_operations_grow_with_evaluations_and_with_guidance(latency):
    def count(method, weight):
        (subject,) = latency.subjects(plan(latency, methods=(method,), guidance=(weight,)))
        (make,) = subject.makers.values()
        (counted,) = subject.counted.values()
        inputs = subject.inputs(1, told=method == "learned")
        assert make(COMPILED).network_evaluations == make(PYTHON).network_evaluations
        run = lambda sampler, *args: sampler(*args)
        return latency.operations(run, counted(COMPILED).sampler, *inputs)

    plain = count("ddim", 1.0)
    assert count("ddim", 4.0) == pytest.approx(2 * plain, rel=0.1)
    assert count("aggressive", 1.0) == pytest.approx(9 / 8 * plain, rel=0.1)
    assert count("learned", 4.0) == count("learned", 1.0)


def test_more_rounds_are_more_sequential_calls_of_the_same_networks(latency):
    (subject,) = latency.subjects(plan(latency, methods=("learned",), rounds=(1, 2, 4)))
    made = [make(COMPILED) for make in subject.makers.values()]
    assert [(m.name, m.network_evaluations) for m in made] == [
        ("learned-2", 6),
        ("learned-4", 12),
        ("learned-8", 24),
    ]
    leaves = [jax.tree.leaves(m.sampler) for m in made]
    assert all(a is b for a, b in zip(leaves[0], leaves[2], strict=True))


def test_operations_are_counted_with_xla_s_attention(latency, monkeypatch):
    """Both are made from the same parameters; only the backend differs."""
    monkeypatch.setattr(sys.modules["real_size"], "resolve_backend", lambda *_: "cudnn")
    (subject,) = latency.subjects(plan(latency, methods=("ddim",), attention="cudnn"))
    assert subject.backbone.attention_backend == "cudnn"
    assert subject.plain().network.backbone == dataclasses.replace(TINY, dtype="float32")
    assert subject.plain().params is subject.denoiser.params
    (counted,) = subject.counted.values()
    networks = jax.tree.structure(counted(COMPILED).sampler)
    assert "cudnn" not in str(networks)
    assert "cudnn" in str(jax.tree.structure(subject.makers["ddim"](COMPILED).sampler))


def test_exponents_are_slopes(latency):
    of = {"network": "n", "attention": "xla"}
    calls = [
        of | {"resolution": side, "batch": b, "p50_ms": 2.0 * side**3 * b**0.5}
        for side in (8, 16)
        for b in (1, 4)
    ]
    of |= {"resolution": 8, "guidance": 1.0, "batch": 1, "mode": "learned"}
    rows = [
        of | {"method": f"learned-{n}", "sequential_calls": n, "p50_ms": 5.0 * n} for n in (2, 4, 8)
    ]
    found = collections.defaultdict(list)
    for fit in latency.fits(rows, calls):
        found[fit["of"]].append(fit["exponent"])
    assert found == {
        "batch": pytest.approx([0.5, 0.5]),
        "resolution": pytest.approx([3, 3]),
        "sequential_calls": pytest.approx([1]),
    }
    assert latency.fits([], calls[:1]) == []


def test_a_config_s_own_samplers(latency):
    from drf_jax.configs import digits

    chosen = latency.Plan(networks={}, methods=("learned", "ddim-4", "driffusion-*"))
    subject = latency.config_subject(f"{digits.__file__}:smoke", chosen)
    assert subject.shape == (8, 8, 1)
    names = [make(COMPILED).name for make in subject.makers.values()]
    assert names[:2] == ["learned-4", "ddim-4"] and "driffusion-aggressive-4" in names
    assert set(subject.counted) == set(subject.makers)
    noise, keys, cond = subject.inputs(1)
    images = subject.makers["ddim-4"](COMPILED).sampler(noise, keys, cond)
    assert images.shape == noise.shape and jax.numpy.all(jax.numpy.isfinite(images))
    with pytest.raises(UserError, match=r"--methods ddim-5: choose among .*ddim-4"):
        latency.config_subject(
            f"{digits.__file__}:smoke", dataclasses.replace(chosen, methods=("ddim-5",))
        )


def test_a_config_without_its_data(latency):
    from drf_jax.configs import emoji64

    chosen = latency.Plan(networks={}, methods=("ddim-6",))
    subject = latency.config_subject(f"{emoji64.__file__}:smoke", chosen)
    assert subject.shape == (32, 32, 3) and subject.backbone.num_classes == 4


def test_names_that_are_unknown(latency):
    with pytest.raises(UserError, match="--networks dit-g/2: choose among dit-s/2, dit-b/2"):
        latency.networks(["dit-g/2"])
    with pytest.raises(UserError, match="--methods heun: choose among learned"):
        list(latency.subjects(plan(latency, methods=("heun",))))
