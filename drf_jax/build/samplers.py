"""The teacher's samplers, from sections such as ``{"name": "serial", "steps": 8}``."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from drf_jax.config import at_least, choose, read, split_name
from drf_jax.data.conditioning import null_cond
from drf_jax.data.source import Source
from drf_jax.denoiser import Denoiser, DenoiserLike
from drf_jax.errors import UserError
from drf_jax.sampling.draft import AggressiveDrafter, ConservativeDrafter
from drf_jax.sampling.grid import make_grid
from drf_jax.sampling.guidance import Guided
from drf_jax.sampling.loops import Loop
from drf_jax.sampling.method import Method, driffusion_method, serial_method
from drf_jax.sampling.refine import ParallelRefiner
from drf_jax.sampling.step import DDIM, STEPS
from drf_jax.sampling.transition import FORMS


@dataclasses.dataclass(frozen=True)
class Serial:
    """A serial sampler of the teacher."""

    steps: int
    step: str = "ddim"
    grid: str = "uniform"
    eta: float = 0.0
    guidance: float = 1.0


@dataclasses.dataclass(frozen=True)
class DRiffusion:
    """The training-free draft–refine sampler of the teacher."""

    steps: int
    drafts: int
    mode: str
    grid: str = "uniform"
    form: str = "noise"
    order: int = 1
    refinements: int = 1
    guidance: float = 1.0

    def __post_init__(self):
        choose(dict.fromkeys(FORMS), self.form, "form")
        at_least(1, self, "driffusion", "drafts", "order")
        if not 1 <= self.refinements <= self.drafts:
            raise UserError(f"refinements = {self.refinements}: choose 1 to drafts = {self.drafts}")


DRAFTERS = {"conservative": ConservativeDrafter, "aggressive": AggressiveDrafter}


def guided(denoiser: Denoiser, weight: float, data: Source) -> DenoiserLike:
    """The denoiser itself for weight 1, its classifier-free guidance otherwise."""
    if weight == 1:
        return denoiser
    if not data.num_classes:
        raise UserError(f"guidance = {weight}: the data {data.name} has no labels to guide by")
    null = {name: leaf[0] for name, leaf in null_cond(data, 1).items()}
    return Guided(denoiser, jnp.asarray(weight), null)


def serial_sampler(name: str, spec: Serial, denoiser: Denoiser, data: Source, loop: Loop) -> Method:
    step = choose(STEPS, spec.step, "step")
    step = step(spec.eta) if step is DDIM else step()
    made = make_grid(spec.grid, denoiser.process, spec.steps)
    model = guided(denoiser, spec.guidance, data)
    return serial_method(name, step, model, denoiser.process, made, loop)


def driffusion_sampler(
    name: str, spec: DRiffusion, denoiser: Denoiser, data: Source, loop: Loop
) -> Method:
    made = make_grid(spec.grid, denoiser.process, spec.steps)
    model = guided(denoiser, spec.guidance, data)
    drafter = choose(DRAFTERS, spec.mode, "mode")(model, spec.form, spec.order)
    return driffusion_method(
        name,
        drafter,
        ParallelRefiner(model),
        denoiser.process,
        made,
        spec.drafts,
        spec.form,
        loop,
        spec.mode,
        spec.refinements,
    )


SAMPLERS = {"serial": (Serial, serial_sampler), "driffusion": (DRiffusion, driffusion_sampler)}


def method(
    name: str, section: Any, denoiser: Denoiser, data: Source, loop: Loop, path: str
) -> Method:
    """A sampler of the teacher from a section such as ``{"name": "serial", "steps": 8}``.

    Raises:
      UserError: the section is wrong; the message starts with its ``path``.
    """
    kind, rest = split_name(section, path)
    spec, make = choose(SAMPLERS, kind, f"{path}.name")
    try:
        return make(name, read(spec, rest, path), denoiser, data, loop)
    except UserError as error:
        message = str(error)
        raise UserError(message if message.startswith(path) else f"{path}: {message}") from None


def sampler_spec(section: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A sampler's section with the defaults of all that it leaves out: equal samplers, equal specs."""
    kind, rest = split_name(section, path)
    spec, _ = choose(SAMPLERS, kind, f"{path}.name")
    return {"name": kind, **dataclasses.asdict(read(spec, rest, path))}
