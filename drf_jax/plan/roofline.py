"""The least time that a program can take on a chip, were nothing but its peak rates in the way.

    time ≥ max(FLOPs / peak, bytes accessed / HBM bandwidth, bytes moved / interconnect bandwidth)           (1)

An estimate for comparing plans, not a promise: it assumes full overlap and full use of every unit, and counts bytes
that stay in on-chip memory as if they came from HBM (Williams, Waterman & Patterson 2009).
"""

import dataclasses

from drf_jax.plan.chips import Chip
from drf_jax.plan.cost import Cost


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Seconds of a call by what limits it."""

    compute: float
    memory: float
    network: float

    @property
    def seconds(self) -> float:
        """(1)."""
        return max(self.compute, self.memory, self.network)

    @property
    def bound(self) -> str:
        """Which of the three it is."""
        return max(("compute", "memory", "network"), key=lambda name: getattr(self, name))


def roofline(cost: Cost, chip: Chip) -> Roofline:
    return Roofline(
        cost.flops / chip.flops,
        cost.accessed / chip.hbm_bandwidth,
        sum(c.moved for c in cost.collectives) / chip.ici_bandwidth,
    )
