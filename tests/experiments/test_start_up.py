"""The start-up experiment on a tiny network: what it starts, and what its table says."""

import dataclasses
import json

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
        here = {"device": "1 x a", "jax": "b", "git": "c"}
        return here | {"compiled": seconds, "image": seconds + 1}

    monkeypatch.setattr(start_up, "in_a_process", process)
    monkeypatch.setenv("XLA_FLAGS", "--some")
    kinds = ["network-call", "learned-4-parts"]
    work = [start_up.job([], kind, plan) for kind in kinds]
    path = tmp_path / "start_up.json"
    start_up.main(work, path, {"dtype": "a"}, "as tested", 0, resume=False)
    found = read_results(path)
    assert (found["device"], found["git"]) == ("1 x a", "c")  # the processes', not this one's
    call, parts = found["rows"]
    assert (call["compile_seconds"], call["warm_seconds"], call["over_call"]) == (2.0, 1.0, 1.0)
    assert (parts["first_image_seconds"], parts["warm_image_seconds"]) == (4.0, 2.5)
    assert parts["over_call"] == 1.5 and parts["decoder"] == "autoencoder"
    assert "decoder" not in call and "cross_draft" not in call
    assert parts["cross_draft"] == "every block, full width" and parts["xla_flags"] == "--some"
    assert len(seen) == 4 and len(set(seen)) == 2
    start_up.main(work, path, {"dtype": "a"}, "as tested", 0, resume=True)
    assert len(seen) == 4
    with pytest.raises(UserError, match=r"was made with \{'dtype': 'a'\}, not \{'dtype': 'b'\}"):
        start_up.main(work, path, {"dtype": "b"}, "as tested", 0, resume=True)
    assert "| tiny | 32 | learned-4-parts | 3 | 1.5 | 4 |" in capsys.readouterr().out


def test_a_process_that_fails_is_one_error(start_up):
    with pytest.raises(UserError, match="network-call: the process ended with "):
        start_up.in_a_process(["--networks=none"], "network-call", "")


@pytest.mark.slow
def test_processes_of_their_own_say_what_they_took(start_up, plan, tmp_path):
    cache, found = str(tmp_path / "cache"), []
    words = start_up.words_of(plan, smoke=True)
    for _ in range(2):
        found.append(start_up.in_a_process(words, "learned-4-parts", cache))
    cold, warm = found
    assert 0 < warm["compiled"] < cold["compiled"] < cold["image"], json.dumps(found)
    assert start_up.in_a_process([], "device", "")["name"] == "cpu"


def test_a_process_is_told_of_all_of_the_plan(start_up, plan):
    words = start_up.words_of(dataclasses.replace(plan, cross_draft="attention"), smoke=False)
    assert words == [
        "--attention=xla",
        "--dtype=float32",
        "--cross_draft=attention",
        "--cross_draft_width=0",
        "--networks=tiny",
        "--pixels=32",
        "--decoder",
    ]
