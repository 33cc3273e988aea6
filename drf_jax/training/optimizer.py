"""AdamW with a clipped gradient and a learning rate that warms up and then decays.

With W warm-up steps out of N, step i = 0, 1, … uses

    lr(i) = lr · min(1, (i+1)/W) · d(s),    s = clip((i − W)/(N − W), 0, 1)                      (1)

    constant: d(s) = 1        linear: d(s) = 1 − s        cosine: d(s) = (1 + cos πs)/2          (2)

Weight decay (decoupled: Loshchilov & Hutter, https://arxiv.org/abs/1711.05101) acts on arrays of
two or more dimensions only, so biases and norm scales are free. The gradient is scaled down to
global norm ``clip`` first.

The numbers of (1) are part of the optimizer's state, as arrays: a program compiled for one learning rate or length of
training serves all. They are the config's own, also where a run goes on from a checkpoint (`with_schedule_of`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from drf_jax.errors import UserError

DECAYS = {
    "constant": jnp.ones_like,
    "linear": lambda s: 1.0 - s,
    "cosine": lambda s: 0.5 * (1.0 + jnp.cos(jnp.pi * s)),
}


@dataclass(frozen=True)
class Optimizer:
    """Settings of :func:`make_optimizer`; ``warmup`` is in steps, ``clip=None`` is no clipping."""

    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup: int = 0
    weight_decay: float = 0.0
    b1: float = 0.9
    b2: float = 0.999
    clip: float | None = 1.0


class ScheduleState(NamedTuple):
    """Finished updates, and the numbers of (1); scalars."""

    count: PyTree
    learning_rate: PyTree
    warmup: PyTree
    steps: PyTree


def rate(state: ScheduleState, schedule: str) -> Float[Array, ""]:
    """Equation (1) at ``state.count``."""
    i = jnp.asarray(state.count, jnp.float32)
    warm = jnp.minimum(1.0, (i + 1.0) / jnp.maximum(state.warmup, 1.0))
    s = jnp.clip((i - state.warmup) / (state.steps - state.warmup), 0.0, 1.0)
    return state.learning_rate * warm * DECAYS[schedule](s)


def initial(cfg: Optimizer, steps: int) -> ScheduleState:
    """The schedule before the first of ``steps`` updates.

    Raises:
      UserError: unknown schedule, or a warm-up that is not within ``[0, steps)``.
    """
    if cfg.schedule not in DECAYS:
        raise UserError(f"schedule: {cfg.schedule!r} is unknown; allowed: {', '.join(DECAYS)}")
    if not 0 <= cfg.warmup < steps:
        raise UserError(f"warmup: {cfg.warmup} must be at least 0 and below steps={steps}")
    numbers = (jnp.float32(x) for x in (cfg.learning_rate, cfg.warmup, steps))
    return ScheduleState(jnp.zeros((), jnp.int32), *numbers)


def make_schedule(cfg: Optimizer, steps: int) -> optax.Schedule:
    """The learning rate (1) as a function of the update's index.

    Raises:
      UserError: see `initial`.
    """
    start = initial(cfg, steps)
    return lambda i: rate(start._replace(count=i), cfg.schedule)


def scale_by_rate(cfg: Optimizer, steps: int) -> optax.GradientTransformation:
    """Times minus the learning rate of the update."""
    initial(cfg, steps)  # complains now

    def update(updates, state, params=None):
        del params
        step = -rate(state, cfg.schedule)
        updates = jax.tree.map(lambda u: step.astype(u.dtype) * u, updates)
        return updates, state._replace(count=optax.safe_increment(state.count))

    return optax.GradientTransformation(lambda params: initial(cfg, steps), update)


def with_schedule_of(opt_state: PyTree, other: PyTree) -> PyTree:
    """An optimizer's state with the schedules' numbers of another one, but its own count."""
    is_schedule = lambda node: isinstance(node, ScheduleState)
    mine = lambda a, b: b._replace(count=a.count) if is_schedule(a) else a
    return jax.tree.map(mine, opt_state, other, is_leaf=is_schedule)


def make_optimizer(cfg: Optimizer, steps: int) -> optax.GradientTransformation:
    """Clip, Adam, weight decay and the learning rate for a run of ``steps`` updates.

    Raises:
      UserError: see `initial`.
    """
    matrices = lambda params: jax.tree.map(lambda leaf: leaf.ndim >= 2, params)
    return optax.chain(
        optax.identity() if cfg.clip is None else optax.clip_by_global_norm(cfg.clip),
        optax.scale_by_adam(cfg.b1, cfg.b2),
        optax.add_decayed_weights(cfg.weight_decay, matrices),
        scale_by_rate(cfg, steps),
    )
