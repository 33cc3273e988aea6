"""What a parallel sampler made, and what each sample of the batch would have cost alone."""

import dataclasses

from jaxtyping import Array, Int

from drf_jax import pytree
from drf_jax.typing import State


@pytree.register
@dataclasses.dataclass(frozen=True)
class Result:
    x: State
    sequential_calls: Int[Array, "b"]
    """Network calls that wait for one another."""
    network_evaluations: Int[Array, "b"]
    """States that the network saw."""
