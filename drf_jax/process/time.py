"""Distributions of the training time t in (0, t_max]: process, key, batch size -> t ``[b]``.

Three are laws of a share s of the process's own time, t = t_max (T_MIN + (1 − T_MIN) s). The fourth is EDM's law of the
noise level (Karras et al. 2022, Table 1), for any process:

    ln(σ_t / α_t) ~ N(P_mean, P_std²),     P_mean = −1.2, P_std = 1.2                                  (1)
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.process.schedule import Process
from drf_jax.typing import PRNGKey, Time

TimeDistribution = Callable[[Process, PRNGKey, int], Time]

T_MIN = 1e-3
"""The shortest of the shared times, as a share of t_max: below it the error is all rounding."""
P_MEAN, P_STD = -1.2, 1.2


def at_share(process: Process, share: Float[Array, "b"]) -> Time:
    """The time of a share of [T_MIN t_max, t_max]."""
    return process.t_max * (T_MIN + (1 - T_MIN) * share)


def uniform(process: Process, key: PRNGKey, batch: int) -> Time:
    """Independent uniform times."""
    return at_share(process, jax.random.uniform(key, (batch,)))


def stratified(process: Process, key: PRNGKey, batch: int) -> Time:
    """One uniform offset and an even spacing: uniform marginals, lower variance (Kingma et al. 2021, VDM)."""
    offset = jax.random.uniform(key, ())
    return at_share(process, (offset + jnp.arange(batch) / batch) % 1.0)


def logit_normal(process: Process, key: PRNGKey, batch: int) -> Time:
    """sigmoid of a standard normal: more weight on the middle (Esser et al. 2024)."""
    return at_share(process, jax.nn.sigmoid(jax.random.normal(key, (batch,))))


def log_normal(process: Process, key: PRNGKey, batch: int) -> Time:
    """Equation (1); levels beyond the process's last are that one."""
    log_level = P_MEAN + P_STD * jax.random.normal(key, (batch,))
    return jnp.minimum(process.time(-2 * log_level), process.t_max)


TIME_DISTRIBUTIONS: dict[str, TimeDistribution] = {
    f.__name__: f for f in (uniform, stratified, logit_normal, log_normal)
}
