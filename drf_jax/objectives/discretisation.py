"""How consistency objectives cut time: noise levels, which interval an example trains, and how many there are.

With σ̃ = σ/α and M intervals between σ_min and the process's largest σ̃,

    σ_i = (σ_min^{1/ρ} + i/M (σ_max^{1/ρ} − σ_min^{1/ρ}))^ρ,      i = 0 … M                            (1)

(Karras et al. 2022, counted from the data). An example trains a pair (σ_n, σ_{n+1}); n is uniform (Song et al. 2023),
or the interval that a log-normal σ, cut off at both ends, falls into (Song & Dhariwal 2023, arXiv 2310.14189):

    P(n) ∝ Φ((ln σ_{n+1} − m)/s) − Φ((ln σ_n − m)/s)                                                   (2)

M grows with the updates k = 0 … K − 1, doubling from s0 to s1 in equal shares of the training (`doubling`):

    M(k) = min(s0 2^{⌊k/K'⌋}, s1),      K' = ⌊K / (log2 ⌊s1/s0⌋ + 1)⌋                                  (3)

It is data, ``batch["intervals"]``, so one compiled step serves the whole training.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float, Int

from drf_jax.errors import UserError
from drf_jax.process.schedule import Process
from drf_jax.typing import PRNGKey, Time

Level = Float[Array, "b"]
Index = Int[Array, "b"]


@dataclasses.dataclass(frozen=True)
class Discretisation:
    """Equation (1) for a process.

    Raises:
      UserError: the process's largest σ̃ is not a finite number above ``sigma_min`` (α must be positive at ``t_max``).
    """

    process: Process
    sigma_min: float = 2e-3
    rho: float = 7.0

    def __post_init__(self):
        with np.errstate(divide="ignore"):
            top = self.sigma_max
        if not self.sigma_min < top < np.inf:
            raise UserError(
                f"sigma/alpha of {self.process} goes up to {top}: must be finite and above {self.sigma_min}"
            )

    @property
    def sigma_max(self) -> float:
        """σ̃ at the process's ``t_max``."""
        return float(np.exp(-self.process.log_snr(np.float64(self.process.t_max)) / 2))

    @property
    def _ends(self) -> tuple[float, float]:
        return self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)

    def sigma(self, i: Index, intervals: Index) -> Level:
        """σ_i of M = ``intervals``."""
        bottom, top = self._ends
        share = i.astype(float) / intervals
        return (bottom + share * (top - bottom)) ** self.rho

    def index(self, sigma: Level, intervals: Index) -> Index:
        """The interval n with σ_n ≤ σ < σ_{n+1}; the first or last for σ beyond the ends."""
        bottom, top = self._ends
        i = jnp.floor(intervals * (sigma ** (1 / self.rho) - bottom) / (top - bottom))
        return jnp.clip(i.astype(jnp.int32), 0, intervals - 1)

    def time(self, sigma: Level) -> Time:
        """The process's time where σ/α is this."""
        return self.process.time(-2 * jnp.log(sigma))


Proposal = Callable[[PRNGKey, Discretisation, Int[Array, "b"]], Int[Array, "b"]]
"""(key, discretisation, M) -> the interval n of each example."""


def uniform(key: PRNGKey, cut: Discretisation, intervals: Index) -> Index:
    """Every interval alike."""
    return jax.random.randint(key, intervals.shape, 0, intervals)


@dataclasses.dataclass(frozen=True)
class LogNormal:
    """Equation (2) with mean m and standard deviation s of ln σ."""

    mean: float = -1.1
    std: float = 2.0

    def __call__(self, key: PRNGKey, cut: Discretisation, intervals: Index) -> Index:
        ends = jnp.log(jnp.array([cut.sigma_min, cut.sigma_max]))
        low, high = ndtr((ends - self.mean) / self.std)
        share = jax.random.uniform(key, intervals.shape)
        z = ndtri(low + share * (high - low))
        return cut.index(jnp.exp(self.mean + self.std * z), intervals)


PROPOSALS: dict[str, Callable[..., Proposal]] = {
    "uniform": lambda: uniform,
    "log_normal": LogNormal,
}


def doubling(update: int, updates: int, first: int = 10, last: int = 1280) -> int:
    """M of equation (3) for update ``update`` of ``updates``.

    Raises:
      UserError: not 1 ≤ first ≤ last.
    """
    if not 1 <= first <= last:
        raise UserError(f"intervals from {first} to {last}: choose 1 <= first <= last")
    share = max(math.floor(updates / (math.log2(last // first) + 1)), 1)
    return min(first * 2 ** (update // share), last)
