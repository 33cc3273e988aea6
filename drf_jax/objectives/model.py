"""A model: what turns parameters into a denoiser.

Distillation compares two of them, a student's (its parameters are trained) and a teacher's (its parameters are
frozen), so its objectives take models and never ask what is inside: a network, a guided network, or a closed form.
"""

import dataclasses
from collections.abc import Callable

from drf_jax.denoiser import Denoiser, DenoiserLike
from drf_jax.process.schedule import Process
from drf_jax.typing import Network, Params

Model = Callable[[Params], DenoiserLike]


@dataclasses.dataclass(frozen=True)
class NetworkModel:
    """A network whose output is read as ``output`` (one of `drf_jax.process.prediction.KINDS`)."""

    network: Network
    process: Process
    output: str

    def __call__(self, params: Params) -> Denoiser:
        return Denoiser(params, self.network, self.process, self.output)
