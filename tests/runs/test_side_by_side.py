"""Compiling side by side: every sampler is called with what the comparison calls it with, and nothing else changes."""

import threading
import types

import jax
import pytest

from drf_jax.runs import side_by_side
from drf_jax.runs.side_by_side import compile_side_by_side, workers
from drf_jax.sampling.method import Method


def methods(names):
    return [Method(name, lambda noise, keys, cond: noise, 1, 1) for name in names]


def test_all_are_called_and_side_by_side():
    together, called = threading.Barrier(3, timeout=10), []

    def first_call(method):
        together.wait()  # breaks unless three come at a time
        called.append(method.name)

    compile_side_by_side(methods("abcdef"), first_call, 3)
    assert sorted(called) == list("abcdef")


@pytest.mark.parametrize(("names", "threads"), [("abc", 1), ("a", 4)])
def test_one_at_a_time_is_left_to_the_comparison(names, threads):
    compile_side_by_side(methods(names), lambda method: pytest.fail("called"), threads)


def test_an_error_is_not_lost():
    with pytest.raises(ZeroDivisionError):
        compile_side_by_side(methods("ab"), lambda method: 1 // (method.name == "a"), 2)


def test_a_cpu_and_a_shared_accelerator_get_one_thread(monkeypatch):
    assert workers() == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(side_by_side, "os", types.SimpleNamespace(cpu_count=lambda: 64))
    assert workers() == 16
    monkeypatch.setattr(side_by_side, "shared", lambda: True)
    assert workers() == 1
