"""The teacher's samplers by name, from sections such as ``{"name": "serial", "steps": 8}``.

A file here is one sampler: its section as a dataclass and how a method is made of it. Every section has ``steps`` and
``grid``, the times on which it walks, and ``guidance``, the weight of classifier-free guidance.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from drf_jax.build.samplers import driffusion, edm, multistep, paradigms, serial, srds
from drf_jax.config import choose, read, split_name
from drf_jax.data.conditioning import null_of
from drf_jax.data.source import Source
from drf_jax.denoiser import Denoiser, DenoiserLike
from drf_jax.errors import UserError
from drf_jax.sampling.grid import make_grid
from drf_jax.sampling.guidance import Guided
from drf_jax.sampling.loops import Loop
from drf_jax.sampling.method import Method, compile_for

SAMPLERS = {
    "serial": (serial.Serial, serial.make),
    "multistep": (multistep.Multistep, multistep.make),
    "edm": (edm.EDMHeun, edm.make),
    "paradigms": (paradigms.Paradigms, paradigms.make),
    "srds": (srds.SRDS, srds.make),
    "driffusion": (driffusion.DRiffusion, driffusion.make),
}
"""name -> (section, ``(row's name, section, denoiser, process, grid, loop) -> Method``)."""


def guided(denoiser: Denoiser, weight: float, data: Source) -> DenoiserLike:
    """The denoiser itself for weight 1, its classifier-free guidance otherwise."""
    if weight == 1:
        return denoiser
    null = null_of(data)
    if not null:
        raise UserError(f"guidance = {weight}: the data {data.name} has no labels to guide by")
    return Guided(denoiser, jnp.asarray(weight), null)


def twice_evaluated(made: Method, loop: Loop) -> Method:
    """The method with guidance's cost: two network evaluations a state, in one call."""
    double = compile_for(loop, lambda cost, *args: cost(*args) * jnp.array([1, 2]))
    return dataclasses.replace(
        made,
        network_evaluations=2 * made.network_evaluations,
        cost=made.cost and jax.tree_util.Partial(double, made.cost),
    )


def method(
    name: str, section: Any, denoiser: Denoiser, data: Source, loop: Loop, path: str
) -> Method:
    """A sampler of the teacher from its section.

    Raises:
      UserError: the section is wrong; the message starts with its ``path``.
    """
    kind, rest = split_name(section, path)
    cls, make = choose(SAMPLERS, kind, f"{path}.name")
    try:
        spec = read(cls, rest, path)
        model = guided(denoiser, spec.guidance, data)
        grid = make_grid(spec.grid, denoiser.process, spec.steps)
        made = make(name, spec, model, denoiser.process, grid, loop)
    except UserError as error:
        message = str(error)
        raise UserError(message if message.startswith(path) else f"{path}: {message}") from None
    return made if model is denoiser else twice_evaluated(made, loop)


def sampler_spec(section: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A sampler's section with the defaults of all that it leaves out: equal samplers, equal specs."""
    kind, rest = split_name(section, path)
    spec, _ = choose(SAMPLERS, kind, f"{path}.name")
    return {"name": kind, **dataclasses.asdict(read(spec, rest, path))}
