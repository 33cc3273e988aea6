"""How well the devices are used: model FLOPs utilisation, and memory.

Operations that the update needs, over what the devices could do in its time:

    mfu = operations of an update / (seconds of an update × devices × peak of a device)          (1)

(Chowdhery et al., PaLM, https://arxiv.org/abs/2204.02311, appendix B; there by a formula, here `drf_jax.flops` counts
the products of the update as it was written, before any partitioning.) Hand-written kernels are not counted, so (1) is
then too low; rematerialised operations are, so it is then too high.
"""

import jax

PEAK = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H200": 989e12,
}
"""``device_kind`` -> dense bfloat16 operations a second, from Google's and NVIDIA's data sheets."""


def peak_flops(device: jax.Device) -> float | None:
    """Operations a second of a device, or None where they are not known."""
    return PEAK.get(device.device_kind)


def peak_memory() -> float | None:
    """The most bytes that one of this process's devices has held at once so far; None where it does not say."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    found = [s["peak_bytes_in_use"] for s in stats if "peak_bytes_in_use" in s]
    return float(max(found)) if found else None
