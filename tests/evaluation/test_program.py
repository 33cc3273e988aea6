"""Operations, memory and compilation of programs whose numbers are known."""

import contextlib

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from drf_jax.evaluation.program import compile_program, entries, matrix_rate, operations


@contextlib.contextmanager
def cached_in(folder):
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", folder)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()


@pytest.fixture
def cache(tmp_path):
    with cached_in(str(tmp_path / "cache")):
        yield


@pytest.fixture
def no_cache():
    with cached_in(None):
        yield


def test_operations_of_arrays_in_a_tree_that_checks_its_leaves():
    a, b = jax.ShapeDtypeStruct((32, 64), jnp.float32), jnp.ones((64, 64))
    sampler = jax.tree_util.Partial(lambda b, a: a @ b, b)
    assert operations(lambda f, a: f(a), sampler, a) == 2 * 32 * 64 * 64


def test_memory_holds_at_least_arguments_and_result():
    x = jnp.ones((256, 256))
    program = compile_program(lambda x: x @ x, x)
    assert program.memory_bytes >= 2 * x.nbytes
    assert jnp.all(program.run(x) == 256)


def test_an_array_that_is_there_twice_is_one_argument():
    x, y = jnp.ones((256, 256)), jnp.ones((256, 256))
    fn = lambda a, b: a["w"] + b["w"]
    once = compile_program(fn, {"w": x}, {"w": x})
    twice = compile_program(fn, {"w": x}, {"w": y})
    assert twice.memory_bytes - once.memory_bytes == x.nbytes
    assert jnp.all(once.run({"w": y}, {"w": y}) == 2)


def test_without_a_cache_every_compilation_is_cold(no_cache):
    program = compile_program(lambda x: x + 1, jnp.ones(3))
    assert program.compile_seconds > 0 and program.warm_seconds is None


def test_cold_and_warm_with_a_cache(cache):
    x = jnp.ones((8, 8))
    fn = lambda x: jnp.tanh(x @ x) @ x
    first = compile_program(fn, x)
    assert entries() > 0
    assert first.compile_seconds > 0 and first.warm_seconds > 0
    jax.clear_caches()
    second = compile_program(fn, x)
    assert second.compile_seconds is None and second.warm_seconds > 0


def test_the_matrix_rate_is_a_rate():
    assert 1e6 < matrix_rate("float32", 64, 2, 3) < 1e16
