"""Time grids τ_0 > τ_1 > … > τ_n on which a sampler walks from noise to data.

A grid is a host array (NumPy, float64, length n + 1), made once, outside the sampler. Configs name it; some have a
number after a colon: ``uniform``, ``shifted:4``, ``power:1.5``.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from drf_jax.errors import UserError
from drf_jax.process.schedule import Process
from drf_jax.process.table import Table

Grid = Float[np.ndarray, "nodes"]


def uniform(process: Process, steps: int) -> Grid:
    """Evenly spaced in t, from t_max to 0."""
    return np.linspace(process.t_max, 0, steps + 1)


def shifted(process: Process, steps: int, factor: float) -> Grid:
    """Evenly spaced in the time of a schedule with σ/α a ``factor`` higher: with more than 1, more steps at the noise.

    From t_max to 0. It is timestep shifting (Esser et al. 2024, arXiv 2403.03206, eq. (23), where t = σ/(α + σ)) of any
    process, and to an image of ``factor`` times the side what even steps are to one of side 1 (Hoogeboom et al. 2023,
    arXiv 2301.11093, eq. (4)).
    """
    shift = 2 * np.log(factor)
    with np.errstate(divide="ignore"):  # some processes end without any signal
        top = process.time(process.log_snr(np.float64(process.t_max)) + shift)
    inner = np.linspace(top, 0, steps + 1)[1:-1]
    return np.concatenate([[process.t_max], process.time(process.log_snr(inner) - shift), [0.0]])


def power(process: Process, steps: int, exponent: float) -> Grid:
    """τ_i = t_max (1 − (i / n)^p): with p above 1 shorter steps at the noise, below 1 at the data."""
    return process.t_max * (1 - (np.arange(steps + 1) / steps) ** exponent)


def leading(process: Table, steps: int, offset: int = 0) -> Grid:
    """Table indices (T // n) i + offset, i = n−1 … 0, then the end of the chain (Ho et al. 2020; Lin et al. 2024)."""
    stride = process.steps // steps
    index = stride * np.arange(steps)[::-1] + offset
    return process.time_of(np.append(index, -1))


def trailing(process: Table, steps: int) -> Grid:
    """Table indices round(T − i T/n) − 1, i = 0 … n−1, then the end: starts at the last index (Lin et al. 2024)."""
    index = np.round(process.steps - np.arange(steps) * process.steps / steps) - 1
    return process.time_of(np.append(index, -1))


def log_snr(process: Process, steps: int, sigma_min: float = 2e-3) -> Grid:
    """Evenly spaced in log-SNR from t_max to the time where σ/α = sigma_min, then 0 (Lu et al. 2022)."""
    nodes = np.linspace(process.log_snr(np.float64(process.t_max)), -2 * np.log(sigma_min), steps)
    return np.append(process.time(nodes), 0.0)


def karras(process: Process, steps: int, sigma_min: float = 2e-3, rho: float = 7.0) -> Grid:
    """Karras et al. 2022, eq. (5), in σ/α between t_max and sigma_min, then 0."""
    sigma_max = np.exp(-process.log_snr(np.float64(process.t_max)) / 2)
    ramp = np.arange(steps) / max(steps - 1, 1)
    top, bottom = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    sigmas = (top + ramp * (bottom - top)) ** rho
    return np.append(process.time(-2 * np.log(sigmas)), 0.0)


GRIDS: dict[str, Callable[..., Grid]] = {
    f.__name__: f for f in (uniform, leading, trailing, log_snr, karras)
}
WITH_NUMBER: dict[str, Callable[[Process, int, float], Grid]] = {
    f.__name__: f for f in (shifted, power)
}
"""Those that are named with a positive number after a colon."""


def check_name(name: str) -> None:
    """Raise if no grid is named so.

    Raises:
      UserError: unknown, or its number is missing, not positive or too many.
    """
    family, colon, number = name.partition(":")
    if family in WITH_NUMBER:
        try:
            fits = 0 < float(number) < np.inf
        except ValueError:
            fits = False
        if not fits:
            raise UserError(
                f"grid = {name!r}: {family} takes a positive number, as in '{family}:2'"
            )
    elif colon or family not in GRIDS:
        choices = [*sorted(GRIDS), *(f"{each}:NUMBER" for each in sorted(WITH_NUMBER))]
        raise UserError(f"grid = {name!r}: choose one of {', '.join(choices)}")


def make_grid(name: str, process: Process, steps: int) -> Grid:
    """Build the grid ``name`` with ``steps`` steps; checks that it decreases.

    Raises:
      UserError: unknown name, a discrete grid on a continuous process, or more steps than the table has.
    """
    check_name(name)
    if name in ("leading", "trailing") and not isinstance(process, Table):
        raise UserError(
            f"grid = {name!r} needs a discrete process (a table), not {type(process).__name__}"
        )
    if steps < 1:
        raise UserError(f"steps = {steps}: a grid needs at least 1 step")
    family, _, number = name.partition(":")
    grid = (
        WITH_NUMBER[family](process, steps, float(number))
        if number
        else GRIDS[name](process, steps)
    )
    if np.any(np.diff(grid) >= 0) or len(grid) != steps + 1:
        raise UserError(f"grid {name!r} with {steps} steps is too fine for {process}: times repeat")
    return grid
