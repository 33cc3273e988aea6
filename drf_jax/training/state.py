"""What training changes, and nothing else: step, parameters, their average, optimizer state.

Keys are not in it: the key of step i is ``fold_in(root, i)``. Frozen (teacher) parameters are not
in it either: they are an argument of the step, so they are never donated and never stored again in
a student's checkpoint.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import PyTree

from drf_jax import pytree
from drf_jax.sharding import Rules, infer_shardings
from drf_jax.typing import Params


@pytree.register
@dataclass(frozen=True)
class TrainState:
    """A pytree; the same class holds arrays, their abstract shapes or their shardings.

    Attributes:
      step: the number of updates made, skipped ones not counted, int32 scalar.
      params: the parameters being trained.
      ema: their exponential moving average, the same tree.
      opt_state: the state of the optax transformation.
    """

    step: PyTree
    params: Params
    ema: Params
    opt_state: PyTree


def create_state(params: Params, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first update; it holds copies, so the caller may keep ``params``."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=jax.tree.map(jnp.copy, params),
        ema=jax.tree.map(jnp.copy, params),
        opt_state=optimizer.init(params),
    )


def jit_sharded(
    init: Callable[..., PyTree], mesh: Mesh, rules: Rules, *args: PyTree
) -> tuple[Callable[..., PyTree], PyTree]:
    """``init`` compiled to make every array where ``rules`` put it, and those shardings; ``args`` are like its own."""
    shardings = infer_shardings(jax.eval_shape(init, *args), mesh, rules)
    return jax.jit(init, out_shardings=shardings), shardings


def init_sharded(
    init: Callable[..., TrainState], mesh: Mesh, rules: Rules, *args: PyTree
) -> tuple[TrainState, PyTree]:
    """Run ``init(*args)`` with every array made where ``rules`` put it: the state, its shardings.

    ``init`` is usually ``lambda key: create_state(network.init(key, ...)["params"], optimizer)``.
    A sharded state is never gathered on one device, and the numbers do not depend on the mesh.
    """
    init, shardings = jit_sharded(init, mesh, rules, *args)
    return init(*args), shardings
