"""Data sheets of the accelerators that can be planned for.

The peak is `drf_jax.training.utilisation`'s. The other numbers are a chip's, from Google Cloud's documentation
(https://docs.cloud.google.com/tpu/docs: "TPU v5e", "TPU v5p", "TPU v6e"); the interconnect's is the sum over a chip's
links in one direction.
"""

import dataclasses

from drf_jax.training.utilisation import PEAK

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """One chip.

    Attributes:
      name: as in topologies, "v5e".
      flops: bfloat16 peak, FLOP/s.
      hbm: memory, bytes. The compiler keeps a few percent for itself.
      hbm_bandwidth: bytes/s.
      ici_bandwidth: between chips, bytes/s.
      accelerator_type: what Cloud TPU calls a slice, to be filled with ``count`` chips and ``cores`` (two a chip).
    """

    name: str
    flops: float
    hbm: int
    hbm_bandwidth: float
    ici_bandwidth: float
    accelerator_type: str


CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v5e", PEAK["TPU v5e"], 16 * GIB, 819e9, 200e9, "v5litepod-{count}"),
        Chip("v5p", PEAK["TPU v5p"], 95 * GIB, 2765e9, 600e9, "v5p-{cores}"),
        Chip("v6e", PEAK["TPU v6e"], 32 * GIB, 1640e9, 448e9, "v6e-{count}"),
    )
}
