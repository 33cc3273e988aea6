"""The run's devices and the kind of loop that suits them."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax

from drf_jax.config import choose, read
from drf_jax.sampling.loops import COMPILED, PYTHON, Loop
from drf_jax.sharding import LAYOUTS, Rules, make_mesh


@dataclasses.dataclass(frozen=True)
class Mesh:
    """How many devices along each axis (−1: the rest), and the layout of ``params``, one of ``LAYOUTS``."""

    data: int = -1
    draft: int = 1
    model: int = 1
    params: str = "replicate"

    def __post_init__(self):
        choose(LAYOUTS, self.params, "config.mesh.params")


def mesh(config: Mapping[str, Any]) -> jax.sharding.Mesh:
    """The run's devices: all of them where a size is −1, otherwise the first data × draft × model."""
    spec = read(Mesh, config["mesh"], "config.mesh")
    sizes = (spec.data, spec.draft, spec.model)
    devices = jax.devices()
    if min(sizes) > 0 and jax.process_count() == 1:
        devices = devices[: math.prod(sizes)]
    return make_mesh(*sizes, devices=devices)


def rules(config: Mapping[str, Any]) -> Rules:
    """How parameters, their average and the optimizer's state are laid out on the mesh."""
    return LAYOUTS[read(Mesh, config["mesh"], "config.mesh").params]


def loop(config: Mapping[str, Any]) -> Loop:
    """Convolutions on a CPU want the Python loop, everything else the compiled one."""
    convolutional = config["network"]["name"] == "unet"
    return PYTHON if convolutional and jax.default_backend() == "cpu" else COMPILED
