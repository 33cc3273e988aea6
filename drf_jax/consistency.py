"""Consistency functions: f(x_t, t) is the start of the trajectory through x_t (Song et al. 2023).

`ConsistencyFunction` is a denoiser read through a boundary condition. It is what consistency samplers call; read as a
denoiser again (`ConsistencyDenoiser`) its x0 fills a slot of any other sampler, such as draft–refine's drafter.
"""

import dataclasses

from drf_jax import pytree
from drf_jax.denoiser import DenoiserLike
from drf_jax.process.boundary import Boundary
from drf_jax.process.prediction import Prediction, expand
from drf_jax.process.schedule import Process
from drf_jax.typing import Cond, State, Time


@pytree.register
@dataclasses.dataclass(frozen=True)
class ConsistencyFunction:
    """``f(x [b, *state], t [b], cond) -> [b, *state]``."""

    denoiser: DenoiserLike
    process: Process = pytree.static()
    boundary: Boundary = pytree.static()

    def __call__(self, x: State, t: Time, cond: Cond = None) -> State:
        return self.boundary(self.process, self.denoiser(x, t, cond), x, t)


@pytree.register
@dataclasses.dataclass(frozen=True)
class ConsistencyDenoiser:
    """The denoiser with x0 = f(x_t, t) and ε = (x_t − α x0)/σ."""

    function: ConsistencyFunction

    def __call__(self, x: State, t: Time, cond: Cond = None) -> Prediction:
        x0, process = self.function(x, t, cond), self.function.process
        alpha, sigma = expand(process.alpha(t), x), expand(process.sigma(t), x)
        return Prediction(x0, (x - alpha * x0) / sigma)
