"""One program of a run, an update or a sampler, lowered from shapes alone: no parameters are made, no data are read.

It is built by the functions that the runs call. A sampler's batch is split over ``data`` and ``draft``; where the mesh
has a ``draft`` axis and the sampler evaluates drafts in parallel, the drafts are split over it instead.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from drf_jax import build
from drf_jax.data.conditioning import null_cond
from drf_jax.data.source import Source
from drf_jax.sampling.method import Method
from drf_jax.sampling.parallel import draft_parallel
from drf_jax.sharding import BATCH, infer_shardings
from drf_jax.training.state import create_state
from drf_jax.training.step import TrainStep, jit_step, make_train_step
from drf_jax.typing import Objective, Params, PRNGKey

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Program:
    """``trace`` takes a global batch, a multiple of ``unit``; ``batch`` is the config's."""

    name: str
    trace: Callable[[int], jax.stages.Traced]
    batch: int
    unit: int

    def lower(self, batch: int) -> jax.stages.Lowered:
        return self.trace(batch).lower()


def key_shape() -> jax.ShapeDtypeStruct:
    return jax.eval_shape(lambda: jax.random.key(0))


def update(
    name: str,
    config: Mapping[str, Any],
    objective: Objective,
    init: Callable[[PRNGKey], Params],
    optimizer: optax.GradientTransformation,
    batch_of: Callable[[int], PyTree],
    size: int,
    mesh: Mesh,
    frozen: Params = None,
    around: Callable[[TrainStep], TrainStep] = lambda step: step,
) -> Program:
    """One update of the training loop.

    Args:
      init: makes what is trained.
      batch_of: makes a batch's shapes.
      size: of the config's batch.
      frozen: shapes of what the objective reads besides.
      around: what the run wraps its step in.
    """
    spec = build.train(config)
    state = jax.eval_shape(lambda key: create_state(init(key), optimizer), key_shape())
    shardings = infer_shardings(state, mesh, build.rules(config))
    step = make_train_step(objective, optimizer, spec.ema, spec.accumulate)
    step = jit_step(around(step), mesh, shardings)
    places = infer_shardings(frozen, mesh, build.rules(config))
    frozen = jax.tree.map(
        lambda leaf, at: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=at), frozen, places
    )

    def trace(batch):
        with jax.set_mesh(mesh):
            return step.trace(state, frozen, batch_of(batch), key_shape())

    return Program(name, trace, size, math.prod(mesh.shape[a] for a in BATCH[0]) * spec.accumulate)


def described(make: Callable[[Params], T], params: Params) -> T:
    """What ``make`` makes of parameters of which there are only shapes: good for what does not depend on them."""
    made = []
    jax.eval_shape(lambda params: made.append(make(params)), params)
    return made[0]


def sampling(
    config: Mapping[str, Any],
    make: Callable[[Params], Method],
    init: Callable[[PRNGKey], Params],
    data: Source,
    process: Any,
    mesh: Mesh,
) -> Program:
    """A whole sampler as one program; every chip has all parameters. ``init`` makes what ``make`` takes."""
    params = jax.eval_shape(init, key_shape())
    parallel = mesh.shape["draft"] > 1 and described(make, params).mode in build.DRAFTERS
    split, everywhere = (
        NamedSharding(mesh, P("data") if parallel else BATCH),
        NamedSharding(mesh, P()),
    )

    def run(params, noise, keys, cond):
        sampler = make(params).sampler
        if parallel:
            sampler = draft_parallel(sampler, process, mesh)
        return sampler(noise, keys, cond)

    def trace(b):
        noise = jax.ShapeDtypeStruct((b, *data.image_shape), jnp.float32)
        keys, cond = jax.eval_shape(
            lambda: (jax.random.split(jax.random.key(0), b), null_cond(data, b))
        )
        jitted = jax.jit(run, in_shardings=(everywhere, split, split, split), out_shardings=split)
        with jax.set_mesh(mesh):
            return jitted.trace(params, noise, keys, cond)

    unit = mesh.shape["data"] * (1 if parallel else mesh.shape["draft"])
    return Program("sample", trace, build.evaluate(config).batch_size, unit)
