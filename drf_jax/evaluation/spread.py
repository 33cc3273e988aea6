"""Sampling on all devices of a mesh: the batch is split, the networks are copied.

The noise is drawn before it is split, so it does not depend on the number of devices, and a sample's numbers depend on
it to rounding alone.
"""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from drf_jax.evaluation.generate import Sampler
from drf_jax.sharding import BATCH
from drf_jax.typing import PRNGKeys, State


def spread(sampler: Sampler, mesh: Mesh, batch_size: int) -> Sampler:
    """The sampler on the mesh's devices; itself if there is one device or the batch doesn't divide.

    Args:
      sampler: a ``jax.tree_util.Partial`` whose arrays (the networks' parameters) are copied to every
        device, or a function without arrays.
      mesh: its axes ``data`` and ``draft`` together split the batch.
      batch_size: of every call.
    """
    if mesh.size == 1 or batch_size % (mesh.shape["data"] * mesh.shape["draft"]):
        return sampler
    everywhere, split = NamedSharding(mesh, P()), NamedSharding(mesh, BATCH)
    copied = jax.tree.map(
        lambda leaf: (
            jax.device_put(leaf, everywhere) if isinstance(leaf, jax.Array | np.ndarray) else leaf
        ),
        sampler,
    )

    def run(noise: State, keys: PRNGKeys, cond: PyTree) -> State:
        return copied(*jax.device_put((noise, keys, cond), split))

    return run
