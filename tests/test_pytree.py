"""Pytree nodes of two classes are never taken for each other."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from drf_jax import pytree
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.schedule import CosineVP
from drf_jax.sampling.draft import AggressiveDrafter, ConservativeDrafter


@pytree.register
@dataclasses.dataclass(frozen=True)
class Point:
    x: jax.Array
    y: jax.Array
    name: str = pytree.static(default="p")


@pytree.register
@dataclasses.dataclass(frozen=True)
class Twin:
    x: jax.Array
    y: jax.Array
    name: str = pytree.static(default="p")


MIXTURE = GaussianMixture(jnp.zeros((2, 3)), jnp.full(2, 0.3), jnp.full(2, 0.2), CosineVP())


@pytest.mark.parametrize(
    ("one", "other"),
    [(Point(1, 2), Twin(1, 2)), (ConservativeDrafter(MIXTURE), AggressiveDrafter(MIXTURE))],
    ids=["twins", "drafters"],
)
def test_structures_of_different_classes_differ(one, other):
    structure = jax.tree.structure
    assert structure(one) == structure(dataclasses.replace(one))
    assert structure(one) != structure(other)
    assert structure((one, 0)) != structure((other, 0))


def test_a_compiled_function_never_runs_what_was_traced_for_another_class():
    # Where structures are equal and hashes are not, each pair of classes is mistaken about once in a hundred.
    def make(i):
        value = {"value": lambda self: jnp.zeros(i)}
        return pytree.register(dataclasses.make_dataclass(f"C{i}", ["x"], namespace=value))

    run = jax.jit(lambda tree: tree.value())
    made = [jax.eval_shape(run, make(i)(1.0)).shape for i in range(100)]
    assert made == [(i,) for i in range(100)]


def test_static_values_are_structure_and_the_rest_are_leaves():
    point = Point(1, 2, "q")
    assert jax.tree.leaves(point) == [1, 2]
    assert jax.tree.map(lambda leaf: 2 * leaf, point) == Point(2, 4, "q")
    assert jax.tree.structure(point) != jax.tree.structure(Point(1, 2))


def test_paths_are_the_names_of_the_fields():
    paths = [
        jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path({"a": Point(1, 2)})
    ]
    assert paths == ["['a'].x", "['a'].y"]
