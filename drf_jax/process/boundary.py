"""Boundary conditions of consistency functions: from a prediction to f with f(x, t_min) = x.

A consistency function maps every point of a trajectory to its start, so at the shortest time it must be the identity.
Both forms mix the state with what a network predicts, with c_skip = 1 and c_out = 0 there; with a teacher's network
they start close to the teacher's x0 elsewhere.

`ConsistencyBoundary` (Song et al. 2023, arXiv 2303.01469, appendix C), in x̃ = x/α and σ̃ = σ/α:

    f / α_min = c_skip x̃ + c_out F                                                                     (1)
    c_skip = σ_d² / ((σ̃ − σ_min)² + σ_d²),      c_out = (σ̃ − σ_min) σ_d / √(σ̃² + σ_d²)

where F is the output of an EDM network; that of another kind of network is what its x0 amounts to, with EDM's own
scalings k, o (`drf_jax.process.preconditioning`): F = (x0 − k x̃)/o, so c_out F = (1 − σ_min/σ̃)(x0 − k x̃).
α_min is α where σ̃ = σ_min: 1 for EDM's process, and for the others the factor that makes f a state of that time.

`LCMBoundary` (Luo et al. 2023, arXiv 2310.04378), with u = scale (t − t_min):

    f = c_skip x + c_out x0,   c_skip = σ_d² / (u² + σ_d²),   c_out = u / √(u² + σ_d²)                 (2)

`NoBoundary` is f = x0, for students that need none (adversarial distillation).
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np

from drf_jax.process.preconditioning import SIGMA_DATA, Scale, coefficients
from drf_jax.process.prediction import Prediction, expand
from drf_jax.process.schedule import Process
from drf_jax.typing import State, Time


@runtime_checkable
class Boundary(Protocol):
    def __call__(self, process: Process, p: Prediction, x: State, t: Time) -> State:
        """f(x, t) from the prediction at x."""
        ...


@dataclasses.dataclass(frozen=True)
class ConsistencyBoundary:
    """Equation (1); t_min is the time where σ/α is ``sigma_min``."""

    sigma_min: float = 2e-3
    sigma_data: float = SIGMA_DATA

    def t_min(self, process: Process) -> float:
        """The time at which f is the identity."""
        return float(process.time(-2 * np.log(self.sigma_min)))

    def scalings(self, sigma: Scale) -> tuple[Scale, Scale]:
        """(c_skip, c_out)."""
        above, data = sigma - self.sigma_min, self.sigma_data
        return data**2 / (above**2 + data**2), above * data / jnp.sqrt(sigma**2 + data**2)

    def __call__(self, process: Process, p: Prediction, x: State, t: Time) -> State:
        alpha = expand(process.alpha(t), x)
        sigma = expand(process.sigma(t), x) / alpha
        c_skip, _ = self.scalings(sigma)
        edm_skip, _, _ = coefficients(sigma, self.sigma_data)
        of_network = (1 - self.sigma_min / sigma) * (p.x0 - edm_skip * x / alpha)
        return float(process.alpha(self.t_min(process))) * (c_skip * x / alpha + of_network)


@dataclasses.dataclass(frozen=True)
class LCMBoundary:
    """Equation (2). The default scale is LCM's 10 a step of a table of 1,000 steps, whose first time is 1/1,000."""

    t_min: float = 1e-3
    scale: float = 1e4
    sigma_data: float = SIGMA_DATA

    def scalings(self, t: Time) -> tuple[Time, Time]:
        """(c_skip, c_out)."""
        u = self.scale * (t - self.t_min)
        norm2 = u**2 + self.sigma_data**2
        return self.sigma_data**2 / norm2, u / jnp.sqrt(norm2)

    def __call__(self, process: Process, p: Prediction, x: State, t: Time) -> State:
        c_skip, c_out = self.scalings(t)
        return expand(c_skip, x) * x + expand(c_out, x) * p.x0


@dataclasses.dataclass(frozen=True)
class NoBoundary:
    """f = x0."""

    def __call__(self, process: Process, p: Prediction, x: State, t: Time) -> State:
        return p.x0
