"""What `latency.py` and `draft_parallel.py` time: networks of published size, random weights, their samplers."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from drf_jax import build
from drf_jax.cli.config_file import load_config
from drf_jax.data.conditioning import null_cond, null_of
from drf_jax.denoiser import Denoiser, DenoiserLike
from drf_jax.errors import UserError
from drf_jax.latents.space import LatentSpace
from drf_jax.networks.autoencoder import Autoencoder, Decoder
from drf_jax.networks.drafter import DraftNetwork
from drf_jax.networks.network import Backbone, DenoisingNetwork
from drf_jax.networks.refiner import RefineNetwork
from drf_jax.networks.sizes import SIZES, random_params
from drf_jax.process.schedule import CosineVP
from drf_jax.sampling import grid
from drf_jax.sampling.draft import AggressiveDrafter, ConservativeDrafter, LearnedDrafter
from drf_jax.sampling.guidance import Guided
from drf_jax.sampling.loops import COMPILED, Loop
from drf_jax.sampling.method import Method, driffusion_method, serial_method
from drf_jax.sampling.refine import LearnedRefiner, ParallelRefiner
from drf_jax.sampling.step import DDIM

PROCESS, FACTOR = CosineVP(), 8
MODES = {"conservative": ConservativeDrafter, "aggressive": AggressiveDrafter}
LEARNED = {"rounds": 2, "drafts": 5}
"""4 sequential calls, 12 evaluations."""
METHODS = ("learned", "aggressive", "conservative", "ddim")

Make = Callable[[Loop], Method]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to time: every network at every size with every guidance weight."""

    networks: Mapping[str, Backbone]
    pixels: tuple[int, ...] = (512, 1024)
    guidance: tuple[float, ...] = (4.0, 1.0)
    methods: tuple[str, ...] = METHODS
    drafts: tuple[int, ...] = (4,)
    steps: int = 50
    autoencoder: Autoencoder | None = None
    dtype: str = "bfloat16"


@dataclasses.dataclass(frozen=True)
class Subject:
    """A network at a size, and makers of its samplers."""

    name: str
    denoiser: Denoiser
    shape: tuple[int, ...]
    pixels: int
    makers: Mapping[str, Make]
    guidance: float = 1.0
    space: LatentSpace | None = None

    @property
    def backbone(self) -> Backbone:
        return self.denoiser.network.backbone

    def inputs(self, batch: int, told: bool = False) -> tuple[jax.Array, jax.Array, Any]:
        """Noise, keys and conditioning; ``told`` the guidance weight."""
        cond = null_cond(self.backbone, batch)
        if told:
            cond["guidance"] = jnp.full(batch, self.guidance)
        noise = jax.random.normal(jax.random.key(0), (batch, *self.shape))
        return noise, jax.random.split(jax.random.key(1), batch), cond


def networks(names: list[str]) -> dict[str, Backbone]:
    """Published sizes by name.

    Raises:
      UserError: unknown name.
    """
    for name in names:
        if name not in SIZES:
            raise UserError(f"--networks {name}: choose among {', '.join(SIZES)}")
    return {name: SIZES[name] for name in names}


@functools.lru_cache(maxsize=1)
def random_denoiser(backbone: Backbone, shape: tuple[int, ...]) -> Denoiser:
    network = DenoisingNetwork(backbone)
    args = (jnp.zeros((1, *shape)), jnp.zeros(1), null_cond(backbone, 1))
    return Denoiser(random_params(network, *args, dtype=backbone.dtype), network, PROCESS, "v")


@functools.lru_cache(maxsize=1)
def learned_slots(backbone: Backbone, shape: tuple[int, ...]) -> tuple:
    """A draft and a refine network that are told the guidance weight."""
    k, dtype = LEARNED["drafts"], backbone.dtype
    backbone = dataclasses.replace(backbone, guidance=True)
    draft, refine = DraftNetwork(backbone, k), RefineNetwork(backbone, k)
    cond = {**null_cond(backbone, 1), "guidance": jnp.ones(1)}
    x, t, times = jnp.zeros((1, *shape)), jnp.zeros(1), jnp.zeros((k, 1))
    drafter = random_params(draft, x, t, times, cond, dtype=dtype)
    refiner = random_params(refine, jnp.zeros((k, *x.shape)), times, cond, dtype=dtype)
    slots = (
        LearnedDrafter(drafter, draft, PROCESS, "v"),
        LearnedRefiner(refiner, refine, PROCESS, "v"),
    )
    return slots


def guided(denoiser: Denoiser, weight: float) -> DenoiserLike:
    null = null_of(denoiser.network.backbone)
    return denoiser if weight == 1 else Guided(denoiser, jnp.asarray(weight, jnp.float32), null)


def ddim(model: DenoiserLike, steps: int) -> Make:
    g = grid.uniform(PROCESS, steps)
    return lambda loop: serial_method(f"ddim-{steps}", DDIM(), model, PROCESS, g, loop)


def training_free(model: DenoiserLike, mode: str, steps: int, drafts: int) -> Make:
    g, slots = grid.uniform(PROCESS, steps), (MODES[mode](model), ParallelRefiner(model))

    def make(loop):
        args = (*slots, PROCESS, g, drafts, "noise", loop, mode)
        return renamed(driffusion_method(f"driffusion-{mode}", *args))

    return make


def learned(backbone: Backbone, shape: tuple[int, ...]) -> Make:
    g = grid.uniform(PROCESS, LEARNED["rounds"] * (LEARNED["drafts"] + 1))

    def make(loop):
        args = (PROCESS, g, LEARNED["drafts"], "noise", loop, "learned")
        return renamed(driffusion_method("learned", *learned_slots(backbone, shape), *args))

    return make


def renamed(method: Method) -> Method:
    """With its number of sequential calls in the name."""
    return dataclasses.replace(method, name=f"{method.name}-{method.sequential_calls}")


def makers(
    plan: Plan, denoiser: Denoiser, shape: tuple[int, ...], weight: float
) -> dict[str, Make]:
    """The plan's samplers in its order."""
    model, made = guided(denoiser, weight), {}
    for name in plan.methods:
        if name == "ddim":
            made[name] = ddim(model, plan.steps)
        elif name == "learned":
            made[name] = learned(denoiser.network.backbone, shape)
        elif name in MODES:
            for k in plan.drafts:
                made[f"{name}, {k} drafts"] = training_free(model, name, plan.steps, k)
        else:
            raise UserError(f"--methods {name}: choose among {', '.join(METHODS)}")
    return made


def subjects(plan: Plan) -> Iterator[Subject]:
    """One after the other, so that the parameters of one network at a time are in memory."""
    for name, backbone in plan.networks.items():
        backbone = dataclasses.replace(backbone, dtype=plan.dtype)
        for pixels in plan.pixels:
            shape = (pixels // FACTOR, pixels // FACTOR, backbone.channels)
            space = None
            if plan.autoencoder is not None:
                decoder, z = Decoder(plan.autoencoder), jnp.zeros((1, *shape))
                params = random_params(decoder, z, dtype=plan.autoencoder.dtype)
                space = LatentSpace({"decoder": params}, plan.autoencoder)
            for weight in plan.guidance:
                denoiser = random_denoiser(backbone, shape)
                made = makers(plan, denoiser, shape, weight)
                yield Subject(name, denoiser, shape, pixels, made, weight, space)


def config_subject(path: str) -> Subject:
    """A config's network with random weights, and the samplers of its ``evaluate.methods``."""
    config = load_config(path)
    data = build.source(config)
    backbone, shape = build.backbone(config, data), tuple(data.image_shape)
    denoiser = dataclasses.replace(
        random_denoiser(backbone, shape), process=build.process(config), output=build.output(config)
    )
    every = lambda loop: {m.name: m for m in build.methods(config, denoiser, data, loop)}
    made = {name: lambda loop, name=name: every(loop)[name] for name in every(COMPILED)}
    return Subject(path, denoiser, shape, shape[0], made)
