"""The denoiser: a network with its parameters, read once as `Prediction(x0, eps)`.

Samplers are given a denoiser, never a network. It is a pytree (the parameters are its leaves), so it passes through
``jax.jit`` as an argument; the network, the process and the kind of output are static.
"""

import dataclasses
from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

from drf_jax import pytree
from drf_jax.process.prediction import Prediction, from_output, network_input
from drf_jax.process.schedule import Process
from drf_jax.typing import Cond, Network, Params, State, Time


@runtime_checkable
class DenoiserLike(Protocol):
    """Anything that predicts (x0, ε) of x_t: a `Denoiser`, a guided one, a closed form. Must be a pytree."""

    def __call__(self, x: State, t: Time, cond: Cond = None) -> Prediction: ...


@runtime_checkable
class Learned(Protocol):
    """Something with a network, whose outputs are read as ``output`` (one of `drf_jax.process.prediction.KINDS`)."""

    params: Params
    network: Network
    process: Process
    output: str


def outputs(
    learned: Learned, x: Float[Array, "..."], t: Float[Array, "..."], cond: Cond
) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
    """What the network says of states ``x [*n, *state]`` at ``t [*n]``, as it is, with α and σ ``[*n]``."""
    alpha, sigma = learned.process.alpha(t), learned.process.sigma(t)
    out = learned.network.apply(
        {"params": learned.params},
        network_input(learned.output, x, alpha, sigma),
        learned.process.network_time(t),
        cond,
    )
    return out, alpha, sigma


@pytree.register
@dataclasses.dataclass(frozen=True)
class Denoiser:
    """f(x, t, cond) with its output read as ``output`` (one of `drf_jax.process.prediction.KINDS`)."""

    params: Params
    network: Network = pytree.static()
    process: Process = pytree.static()
    output: str = pytree.static()

    def __call__(self, x: State, t: Time, cond: Cond = None) -> Prediction:
        """Prediction at x ``[b, *state]`` and t ``[b]``."""
        out, alpha, sigma = outputs(self, x, t, cond)
        return from_output(self.output, out, x, alpha, sigma)
