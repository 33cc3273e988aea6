"""Devices that are described, not present: ``v5e:16x16`` are 256 chips, ``cpu:8`` eight virtual CPU devices."""

import contextlib
import dataclasses
import importlib.util
import math
import os
import re
from collections.abc import Sequence

import jax
from jax.experimental import topologies

from drf_jax.errors import UserError
from drf_jax.plan.chips import CHIPS, Chip


@dataclasses.dataclass(frozen=True)
class Topology:
    """``chip`` is None for CPU devices, which have no data sheet."""

    name: str
    devices: Sequence[jax.Device]
    chip: Chip | None


def describe(name: str) -> Topology:
    """The topology of that name; call it before anything else asks JAX for devices.

    Raises:
      UserError: unknown generation or shape, or no TPU compiler is installed.
    """
    kind, _, shape = name.partition(":")
    if kind == "cpu" and re.fullmatch(r"[1-9]\d*", shape):
        return Topology(name, cpu_devices(int(shape)), None)
    if kind not in CHIPS or not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){1,2}", shape):
        raise UserError(
            f"--topology {name}: must be GENERATION:SHAPE such as v5e:16x16, with a generation of"
            f" {', '.join(CHIPS)}, or cpu:COUNT"
        )
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            f"--topology {name}: needs the TPU compiler, which is not installed;"
            " pip install 'drf_jax[tpu]'"
        )
    chip, count = CHIPS[kind], math.prod(map(int, shape.split("x")))
    settings = {
        "TPU_SKIP_MDS_QUERY": "1",  # no metadata server is asked what machine this is
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_ACCELERATOR_TYPE": chip.accelerator_type.format(count=count, cores=2 * count),
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # no device is opened, so plans may run side by side
    }
    for key, value in settings.items():
        os.environ.setdefault(key, value)
    jax.config.update("jax_platforms", "cpu")
    try:
        devices = topologies.get_topology_desc(name, "tpu").devices
    except jax.errors.JaxRuntimeError as error:
        raise UserError(f"--topology {name}: {str(error).splitlines()[0]}") from None
    return Topology(name, devices, chip)


def cpu_devices(count: int) -> Sequence[jax.Device]:
    """The first ``count`` CPU devices; as many virtual ones are made if JAX has not started yet."""
    jax.config.update("jax_platforms", "cpu")
    with contextlib.suppress(RuntimeError):  # too late: JAX has its devices
        jax.config.update("jax_num_cpu_devices", count)
    devices = jax.devices("cpu")
    if len(devices) < count:
        raise UserError(f"--topology cpu:{count}: this process has {len(devices)} CPU devices only")
    return devices[:count]
