"""The start-up experiment on a tiny network: what it starts, and what its table says."""

import json

import jax
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation.report import read_results
from drf_jax.networks.autoencoder import Autoencoder
from drf_jax.networks.dit import DiT

TINY = DiT(channels=4, patch=2, width=8, depth=1, heads=2, num_classes=3)


@pytest.fixture(scope="module")
def start_up(experiment):
    return experiment("start_up")


@pytest.fixture(autouse=True)
def quick(quick_compile):
    with quick_compile():
        yield


@pytest.fixture
def plan(start_up):
    return start_up.Plan(
        networks={"tiny": TINY},
        pixels=(32,),
        guidance=(1.0,),
        methods=("learned",),
        autoencoder=Autoencoder(widths=(32,) * 4, blocks=1, dtype="float32"),
        dtype="float32",
    )


def test_in_parts_the_first_image_is_that_of_one_program(start_up, plan):
    (subject,) = start_up.subjects(plan)
    images = []
    for kind in ("learned-4", "learned-4-parts"):
        compile_it, first = start_up.start_of(kind, plan, subject)
        compile_it()
        images.append(np.asarray(first()))
    assert images[0].shape == (1, 32, 32, 3) and np.abs(images[0]).max() > 1e-3
    np.testing.assert_allclose(images[0], images[1], atol=1e-5)


def test_seconds_are_told_apart(start_up, plan):
    found = start_up.measure("network-call", plan)
    assert 0 < found["compiled"] < found["image"]


def test_the_table_has_first_and_later_starts(start_up, plan, monkeypatch, tmp_path, capsys):
    seen = []

    def process(words, kind, cache):
        seconds = {"network-call": 2.0, "learned-4-parts": 3.0}[kind] / (1 + (cache in seen))
        seen.append(cache)
        return {"compiled": seconds, "image": seconds + 1}

    monkeypatch.setattr(start_up, "in_a_process", process)
    kinds = ["network-call", "learned-4-parts"]
    work = [start_up.job([], kind, plan, 32) for kind in kinds]
    start_up.main(work, tmp_path, {}, "as tested", 0, resume=False)
    (path,) = (tmp_path / "results").glob("start_up_*.json")
    call, parts = read_results(path)["rows"]
    assert (call["compile_seconds"], call["warm_seconds"], call["over_call"]) == (2.0, 1.0, 1.0)
    assert (parts["first_image_seconds"], parts["warm_image_seconds"]) == (4.0, 2.5)
    assert parts["over_call"] == 1.5 and parts["decoder"] == "autoencoder"
    assert "decoder" not in call
    assert len(seen) == 4 and len(set(seen)) == 2
    start_up.main(work, tmp_path, {}, "as tested", 0, resume=True)
    assert len(seen) == 4
    assert "| tiny | 32 | learned-4-parts | 3 | 1.5 | 4 |" in capsys.readouterr().out


def test_a_process_that_fails_is_one_error(start_up):
    with pytest.raises(UserError, match="network-call: the process ended with "):
        start_up.in_a_process(["--networks=none"], "network-call", "")


@pytest.mark.slow
def test_processes_of_their_own_say_what_they_took(start_up, tmp_path):
    cache, found = str(tmp_path / "cache"), []
    for _ in range(2):
        found.append(start_up.in_a_process(["--smoke"], "network-call", cache))
    cold, warm = found
    assert warm["compiled"] < cold["compiled"] < cold["image"], json.dumps(found)
    assert jax.tree.all(jax.tree.map(lambda seconds: seconds > 0, found))
