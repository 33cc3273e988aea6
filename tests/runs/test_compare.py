"""What a comparison times, and when it leaves that to others."""

import fcntl

import pytest

from drf_jax.data.digits import Digits
from drf_jax.runs.compare import batch_one_latency
from drf_jax.sampling.method import Method
from drf_jax.turns import VARIABLE


@pytest.fixture
def calls():
    return []


@pytest.fixture
def method(calls):
    return Method("mine", lambda *args: calls.append(args) or args[0], 1, 1)


def test_alone_a_method_is_timed(method, calls, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert batch_one_latency(method, Digits(), repeats=3) > 0
    assert len(calls) >= 4  # compiled, then timed


def test_beside_others_it_is_compiled_only_and_waits_for_nobody(
    method, calls, monkeypatch, tmp_path
):
    turns = tmp_path / "turns"
    monkeypatch.setenv(VARIABLE, str(turns))
    with turns.open("w") as somebody:
        fcntl.flock(somebody, fcntl.LOCK_EX)
        assert batch_one_latency(method, Digits(), repeats=3) is None
    assert len(calls) == 1
