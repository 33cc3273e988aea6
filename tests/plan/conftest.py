"""Small programs on the suite's 8 virtual devices."""

import jax
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from drf_jax.plan.hlo import parse
from drf_jax.sharding import make_mesh


@pytest.fixture(scope="session")
def mesh():
    return make_mesh(4, 2, 1)


@pytest.fixture(scope="session")
def compiled(mesh):
    """``compiled(f, *(shape, spec))``: the compiled program, whose result every device has, and its parsed text."""

    def compile_for_mesh(f, *args):
        shapes = [jax.ShapeDtypeStruct(shape, "float32") for shape, _ in args]
        shardings = tuple(NamedSharding(mesh, spec) for _, spec in args)
        made = jax.jit(f, in_shardings=shardings, out_shardings=NamedSharding(mesh, P()))
        program = made.lower(*shapes).compile()
        return program, parse(program.as_text())

    return compile_for_mesh
