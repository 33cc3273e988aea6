"""Distributions of the training time t in (0, t_max): key, batch size -> t ``[b]``."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from drf_jax.typing import PRNGKey

TimeDistribution = Callable[[PRNGKey, int], Float[Array, "b"]]


def uniform(key: PRNGKey, batch: int) -> Float[Array, "b"]:
    """Independent uniform times."""
    return jax.random.uniform(key, (batch,))


def stratified(key: PRNGKey, batch: int) -> Float[Array, "b"]:
    """One uniform offset and an even spacing: uniform marginals, lower variance (Kingma et al. 2021, VDM)."""
    offset = jax.random.uniform(key, ())
    return (offset + jax.numpy.arange(batch) / batch) % 1.0


def logit_normal(key: PRNGKey, batch: int) -> Float[Array, "b"]:
    """sigmoid of a standard normal: more weight on the middle (Esser et al. 2024)."""
    return jax.nn.sigmoid(jax.random.normal(key, (batch,)))


TIME_DISTRIBUTIONS: dict[str, TimeDistribution] = {
    f.__name__: f for f in (uniform, stratified, logit_normal)
}
