"""The denoiser: a network with its parameters, read once as `Prediction(x0, eps)`.

Samplers are given a denoiser, never a network. It is a pytree (the parameters are its leaves), so it passes through
``jax.jit`` as an argument; the network, the process and the kind of output are static.
"""

import dataclasses
from typing import Protocol, runtime_checkable

from drf_jax import pytree
from drf_jax.process.prediction import Prediction, from_output, network_input
from drf_jax.process.schedule import Process
from drf_jax.typing import Cond, Network, Params, State, Time


@runtime_checkable
class DenoiserLike(Protocol):
    """Anything that predicts (x0, ε) of x_t: a `Denoiser`, a guided one, a closed form. Must be a pytree."""

    def __call__(self, x: State, t: Time, cond: Cond = None) -> Prediction: ...


def static() -> dataclasses.Field:
    """A dataclass field that is part of a pytree's structure, not a leaf."""
    return dataclasses.field(metadata={"static": True})


@pytree.register
@dataclasses.dataclass(frozen=True)
class Denoiser:
    """f(x, t, cond) with its output read as ``output`` (one of `drf_jax.process.prediction.KINDS`)."""

    params: Params
    network: Network = static()
    process: Process = static()
    output: str = static()

    def __call__(self, x: State, t: Time, cond: Cond = None) -> Prediction:
        """Prediction at x ``[b, *state]`` and t ``[b]``."""
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        out = self.network.apply(
            {"params": self.params},
            network_input(self.output, x, alpha, sigma),
            self.process.network_time(t),
            cond,
        )
        return from_output(self.output, out, x, alpha, sigma)
