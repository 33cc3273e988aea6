"""AdamW with a clipped gradient and a learning rate that warms up and then decays.

With W warm-up steps out of N, step i = 0, 1, … uses

    lr(i) = lr · min(1, (i+1)/W) · d(s),    s = clip((i − W)/(N − W), 0, 1)                      (1)

    constant: d(s) = 1        linear: d(s) = 1 − s        cosine: d(s) = (1 + cos πs)/2          (2)

Weight decay (decoupled: Loshchilov & Hutter, https://arxiv.org/abs/1711.05101) acts on arrays of
two or more dimensions only, so biases and norm scales are free. The gradient is scaled down to
global norm ``clip`` first.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax

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


def make_schedule(cfg: Optimizer, steps: int) -> optax.Schedule:
    """The learning rate (1) as a function of the update's index.

    Raises:
      UserError: unknown schedule, or a warm-up that is not within ``[0, steps)``.
    """
    if cfg.schedule not in DECAYS:
        raise UserError(f"schedule: {cfg.schedule!r} is unknown; allowed: {', '.join(DECAYS)}")
    if not 0 <= cfg.warmup < steps:
        raise UserError(f"warmup: {cfg.warmup} must be at least 0 and below steps={steps}")

    def learning_rate(i):
        i = jnp.asarray(i, jnp.float32)
        warm = jnp.minimum(1.0, (i + 1.0) / max(cfg.warmup, 1))
        s = jnp.clip((i - cfg.warmup) / (steps - cfg.warmup), 0.0, 1.0)
        return cfg.learning_rate * warm * DECAYS[cfg.schedule](s)

    return learning_rate


def make_optimizer(cfg: Optimizer, steps: int) -> optax.GradientTransformation:
    """Clip, Adam, weight decay and the learning rate for a run of ``steps`` updates.

    Raises:
      UserError: see :func:`make_schedule`.
    """
    clip = optax.identity() if cfg.clip is None else optax.clip_by_global_norm(cfg.clip)
    adamw = optax.adamw(
        make_schedule(cfg, steps),
        b1=cfg.b1,
        b2=cfg.b2,
        weight_decay=cfg.weight_decay,
        mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim >= 2, params),
    )
    return optax.chain(clip, adamw)
