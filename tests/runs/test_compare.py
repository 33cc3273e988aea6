"""What a comparison times, and when it leaves that to others."""

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


def test_beside_others_it_is_not_timed(method, calls, monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "turns"))
    assert batch_one_latency(method, Digits(), repeats=3) is None
    assert not calls
