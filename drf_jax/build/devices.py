"""The run's devices and the kind of loop that suits them."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax

from drf_jax.config import read
from drf_jax.sampling.loops import COMPILED, PYTHON, Loop
from drf_jax.sharding import make_mesh


@dataclasses.dataclass(frozen=True)
class Mesh:
    data: int = -1
    draft: int = 1
    model: int = 1


def mesh(config: Mapping[str, Any]) -> jax.sharding.Mesh:
    """The run's devices: all of them where a size is −1, otherwise the first data × draft × model."""
    sizes = dataclasses.astuple(read(Mesh, config["mesh"], "config.mesh"))
    devices = jax.devices()
    if min(sizes) > 0 and jax.process_count() == 1:
        devices = devices[: math.prod(sizes)]
    return make_mesh(*sizes, devices=devices)


def loop(config: Mapping[str, Any]) -> Loop:
    """Convolutions on a CPU want the Python loop, everything else the compiled one."""
    convolutional = config["network"]["name"] == "unet"
    return PYTHON if convolutional and jax.default_backend() == "cpu" else COMPILED
