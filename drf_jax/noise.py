"""Sample i of a run depends on (root key, i) and on nothing else.

    key_i = fold_in(root, i),      eps_i ~ N(0, I) drawn from fold_in(key_i, NOISE)             (1)

So batch size, order, devices and restarts do not change the noise of a sample, and two samplers
started from the same root answer for the same noise: RMSE and pictures compare sample by sample.
"""

from functools import partial

import jax
import numpy as np
from jaxtyping import Array, Float32, Int

from drf_jax.typing import PRNGKey, PRNGKeys

NOISE = 0x6E6F6973
"""Folded into a sample's key for its first noise; a sampler may fold small numbers itself."""


@jax.jit
def sample_keys(root: PRNGKey, indices: Int[Array | np.ndarray, "b"]) -> PRNGKeys:
    """One key for each sample index, equation (1)."""
    return jax.vmap(partial(jax.random.fold_in, root))(indices)


@partial(jax.jit, static_argnames="shape")
def initial_noise(keys: PRNGKeys, shape: tuple[int, ...]) -> Float32[Array, "b ..."]:
    """Unit-variance noise of each sample, equation (1); the caller scales it to its process."""
    return jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, NOISE), shape))(keys)
