"""Draft-parallel sampling: the drafts of a round over the devices of a mesh.

DRiffusion's second step, the one call on all K·b drafted states, is independent from state to state. On a mesh with
axes ``draft`` and ``data`` each device evaluates K / n_draft drafts of b / n_data samples; everything else (the anchor
call, drafting, the walk) is the same on every device of the axis ``draft``. With one draft a device, an N-step grid
takes (arXiv 2603.25872)

    conservative   2 N / (n + 1) sequential calls: n devices are up to (n + 1) / 2 times faster than serial DDIM     (1)
    aggressive     N / n,                          up to n times                                                    (2)

Devices exchange one thing a round, one array the size of the drafts. A prediction (x0, ε) at x = α x0 + σ ε is two
arrays, but as x is known everywhere its velocity alone gives both, and well conditioned at every noise level:

    v = α ε − σ x0,     x0 = (α x − σ v) / (α² + σ²),     ε = (σ x + α v) / (α² + σ²)                               (3)

It is one GSPMD program, whatever the mesh: on one device nothing is exchanged.
"""

import dataclasses
import math
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Num

from drf_jax import pytree
from drf_jax.denoiser import DenoiserLike
from drf_jax.errors import UserError
from drf_jax.process.prediction import from_output, to_output
from drf_jax.process.schedule import Process
from drf_jax.sampling.refine import ParallelRefiner

T = TypeVar("T")


def pad(x: Num[Array, "k ..."], multiple: int) -> Num[Array, "padded ..."]:
    """Repeat the last draft until their number is a multiple."""
    extra = -len(x) % multiple
    return jnp.concatenate([x, jnp.repeat(x[-1:], extra, axis=0)]) if extra else x


@pytree.register
@dataclasses.dataclass(frozen=True)
class DraftParallelRefiner:
    """`ParallelRefiner` with its states laid over the axes ``draft`` and ``data`` of a mesh.

    Where ``draft`` does not divide K, the last draft is evaluated more than once.

    Raises:
      UserError: ``data`` does not divide the batch (when called).
    """

    denoiser: DenoiserLike
    process: Process = pytree.static()
    mesh: Mesh = pytree.static()

    def __call__(self, states, times, cond):
        k, b = times.shape
        check_batch(self.mesh, b)
        n, split = self.mesh.shape["draft"], P("draft", "data")
        # Before and after, or the compiler spreads the walk over the devices too, with an exchange at every step.
        everywhere = NamedSharding(self.mesh, P(None, "data"))
        hold = lambda tree: jax.lax.with_sharding_constraint(tree, everywhere)

        def velocity(denoiser, states, times, cond):
            p = ParallelRefiner(denoiser)(states, times, cond)
            return to_output("v", p, self.process.alpha(times), self.process.sigma(times))

        evaluate = jax.shard_map(
            velocity,
            mesh=self.mesh,
            in_specs=(P(), split, split, P("data")),
            out_specs=split,
        )
        states, times = hold((states, times))
        v = hold(evaluate(self.denoiser, *hold((pad(states, n), pad(times, n))), cond))[:k]
        return hold(
            from_output("v", v, states, self.process.alpha(times), self.process.sigma(times))
        )


def check_batch(mesh: Mesh, b: int) -> None:
    """Raise unless the mesh's axis ``data`` divides the batch."""
    if b % mesh.shape["data"]:
        raise UserError(
            f"batch of {b}: the mesh's data = {mesh.shape['data']} must divide it; use data=1 for single images"
        )


def draft_parallel(slots: T, process: Process, mesh: Mesh) -> T:
    """A tree of samplers, drafters and refiners with every `ParallelRefiner` laid over the mesh.

    All arrays in the tree (the networks' parameters) are copied to every device of it.
    """
    placed: dict[int, jax.Array] = {}

    def place(leaf):
        # Drafter and refiner share a network: one copy a device.
        if id(leaf) not in placed:
            placed[id(leaf)] = jax.device_put(leaf, NamedSharding(mesh, P()))
        return placed[id(leaf)]

    def lay(node):
        if isinstance(node, ParallelRefiner):
            return DraftParallelRefiner(jax.tree.map(place, node.denoiser), process, mesh)
        return place(node)

    return jax.tree.map(lay, slots, is_leaf=lambda node: isinstance(node, ParallelRefiner))


def bytes_per_round(mesh: Mesh, drafts: int, state: tuple[int, ...], itemsize: int = 4) -> int:
    """Bytes that each device receives in one refinement of one sample: the other devices' drafts, equation (3)."""
    n = mesh.shape["draft"]
    return (n - 1) * -(-drafts // n) * math.prod(state) * itemsize
