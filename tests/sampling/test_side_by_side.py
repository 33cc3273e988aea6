"""Compiling side by side: a comparison's own calls then compile nothing."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.evaluation.generate import generate
from drf_jax.sampling.side_by_side import compile_side_by_side, workers

SHAPE, BATCH = (2, 2, 1), 4


def bound(factor):
    run = jax.jit(
        lambda w, noise, keys, cond: factor * noise + w + cond["label"][:, None, None, None]
    )
    return jax.tree_util.Partial(run, jnp.ones(1))


def arguments(n):
    keys = jax.random.split(jax.random.key(0), n)
    return jnp.zeros((n, *SHAPE)), keys, {"label": np.zeros(n, np.int32)}


def draw(sampler):
    cond = lambda index: {"label": np.asarray(index, np.int32)}
    return generate(sampler, jax.random.key(1), np.arange(3), SHAPE, cond, BATCH)


def test_the_calls_that_follow_compile_nothing(compilations):
    draw(bound(0))  # what makes noise and keys
    samplers = [bound(1), bound(2)]
    args = arguments(BATCH), arguments(1)
    jax.block_until_ready(args)
    del compilations[:]
    compile_side_by_side([(s, a) for s in samplers for a in args], 2)
    assert len(compilations) == 4
    found = draw(samplers[1])
    samplers[0](*args[1])
    assert len(compilations) == 4
    np.testing.assert_array_equal(found, draw(bound(2)))
    assert len(compilations) == 5  # the other one's


@pytest.mark.parametrize(("count", "threads"), [(3, 1), (1, 4)])
def test_one_at_a_time_is_left_to_the_comparison(compilations, count, threads):
    calls = [(bound(i), arguments(1)) for i in range(count)]
    jax.block_until_ready(calls)
    del compilations[:]
    compile_side_by_side(calls, threads)
    assert not compilations


def test_programs_are_lowered_one_after_the_other():
    tracing, most = [], []

    def traced(x):
        tracing.append(1)
        most.append(len(tracing))
        time.sleep(0.05)  # lets other threads go on
        tracing.pop()
        return x

    calls = [(jax.tree_util.Partial(jax.jit(lambda x: traced(x))), (np.ones(i),)) for i in (1, 2)]
    compile_side_by_side(calls, 2)
    assert most == [1, 1]


def test_an_error_is_not_lost():
    with pytest.raises(TypeError):
        compile_side_by_side([(bound(1), arguments(1)), (bound(1), ())], 2)


def test_a_cpu_gets_one_thread_and_another_device_half_of_the_cores(monkeypatch):
    assert workers(64) == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    found = [workers(cores) for cores in (1, 12, 64)]
    assert found == [1, 6, 16]
