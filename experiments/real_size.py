"""What `latency.py` and `draft_parallel.py` time: networks of published size, random weights, their samplers."""

import dataclasses
import fnmatch
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from drf_jax import build
from drf_jax.cli.config_file import load_config
from drf_jax.data.conditioning import null_cond, null_of
from drf_jax.denoiser import Denoiser, DenoiserLike
from drf_jax.errors import UserError
from drf_jax.latents.space import LatentSpace
from drf_jax.networks.attention import resolve_backend
from drf_jax.networks.autoencoder import Autoencoder, Decoder
from drf_jax.networks.cross_draft import CrossDraft
from drf_jax.networks.drafter import DraftNetwork
from drf_jax.networks.network import Backbone, DenoisingNetwork
from drf_jax.networks.refiner import RefineNetwork
from drf_jax.networks.sizes import SIZES, random_params
from drf_jax.plan.data import planned_data
from drf_jax.process.schedule import CosineVP
from drf_jax.sampling import grid
from drf_jax.sampling.draft import AggressiveDrafter, ConservativeDrafter, LearnedDrafter
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.guidance import Guided
from drf_jax.sampling.loops import COMPILED, Loop
from drf_jax.sampling.method import Method, driffusion_method, serial_method
from drf_jax.sampling.refine import LearnedRefiner, ParallelRefiner
from drf_jax.sampling.step import DDIM
from drf_jax.typing import Params

PROCESS, FACTOR = CosineVP(), 8
MODES = {"conservative": ConservativeDrafter, "aggressive": AggressiveDrafter}
LEARNED_DRAFTS = 5
"""In 2 rounds: 4 sequential calls, 12 evaluations."""
METHODS = ("learned", "aggressive", "conservative", "ddim")

Make = Callable[[Loop], Method]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to time: every network at every size with every guidance weight."""

    networks: Mapping[str, Backbone]
    pixels: tuple[int, ...] = (512, 1024)
    guidance: tuple[float, ...] = (4.0, 1.0)
    methods: tuple[str, ...] = METHODS
    rounds: tuple[int, ...] = (2,)
    drafts: tuple[int, ...] = (4,)
    steps: int = 50
    autoencoder: Autoencoder | None = None
    dtype: str = "bfloat16"
    attention: str = "xla"
    cross_draft: str = "every_block"
    cross_draft_width: int = 0
    """Of the learned refine network, as of ``config.method``."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A network at a size, and makers of its samplers.

    ``counted`` are the same with XLA's attention: operations inside a hand-written kernel are not counted.
    """

    name: str
    denoiser: Denoiser
    shape: tuple[int, ...]
    pixels: int
    makers: Mapping[str, Make]
    counted: Mapping[str, Make]
    guidance: float = 1.0
    space: LatentSpace | None = None
    cross_draft: str = ""
    """Of the learned samplers, in words."""

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

    def plain(self) -> Denoiser:
        """The network with XLA's attention, to be counted."""
        return with_backend(self.denoiser, "xla")


def networks(names: list[str]) -> dict[str, Backbone]:
    """Published sizes by name.

    Raises:
      UserError: unknown name.
    """
    for name in names:
        if name not in SIZES:
            raise UserError(f"--networks {name}: choose among {', '.join(SIZES)}")
    return {name: SIZES[name] for name in names}


def backend_of(backbone: Backbone, backend: str) -> Backbone:
    return dataclasses.replace(backbone, attention_backend=backend)


def with_backend(denoiser: Denoiser, backend: str) -> Denoiser:
    backbone = backend_of(denoiser.network.backbone, backend)
    return dataclasses.replace(denoiser, network=DenoisingNetwork(backbone))


@functools.lru_cache(maxsize=1)
def network_params(backbone: Backbone, shape: tuple[int, ...]) -> Params:
    args = (jnp.zeros((1, *shape)), jnp.zeros(1), null_cond(backbone, 1))
    return random_params(DenoisingNetwork(backbone), *args, dtype=backbone.dtype)


def random_denoiser(backbone: Backbone, shape: tuple[int, ...]) -> Denoiser:
    params = network_params(backend_of(backbone, "xla"), shape)
    return Denoiser(params, DenoisingNetwork(backbone), PROCESS, "v")


@dataclasses.dataclass(frozen=True)
class LearnedNetworks:
    """A draft and a refine network that are told the guidance weight, with this attention between the drafts."""

    backbone: Backbone
    cross_draft: str = "every_block"
    width: int = 0

    @property
    def draft(self) -> DraftNetwork:
        return DraftNetwork(self.told, LEARNED_DRAFTS)

    @property
    def refine(self) -> RefineNetwork:
        heads, dtype = self.backbone.heads, self.backbone.dtype
        mixer = CrossDraft(LEARNED_DRAFTS, heads, dtype, self.cross_draft, self.width)
        return RefineNetwork(self.told, LEARNED_DRAFTS, mixer)

    @property
    def told(self) -> Backbone:
        return dataclasses.replace(self.backbone, guidance=True)

    def plain(self) -> "LearnedNetworks":
        """The same with XLA's attention; the parameters are the same."""
        return dataclasses.replace(self, backbone=backend_of(self.backbone, "xla"))


@functools.lru_cache(maxsize=1)
def learned_params(networks: LearnedNetworks, shape: tuple[int, ...]) -> tuple[Params, Params]:
    dtype = networks.backbone.dtype
    cond = {**null_cond(networks.told, 1), "guidance": jnp.ones(1)}
    x, t, times = jnp.zeros((1, *shape)), jnp.zeros(1), jnp.zeros((LEARNED_DRAFTS, 1))
    drafts = jnp.zeros((LEARNED_DRAFTS, *x.shape))
    return (
        random_params(networks.draft, x, t, times, cond, dtype=dtype),
        random_params(networks.refine, drafts, times, cond, dtype=dtype),
    )


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


def learned_grid(rounds: int) -> Grid:
    return grid.uniform(PROCESS, rounds * (LEARNED_DRAFTS + 1))


def learned_slots(
    networks: LearnedNetworks, shape: tuple[int, ...]
) -> tuple[LearnedDrafter, LearnedRefiner]:
    drafter, refiner = learned_params(networks.plain(), shape)
    return (
        LearnedDrafter(drafter, networks.draft, PROCESS, "v"),
        LearnedRefiner(refiner, networks.refine, PROCESS, "v"),
    )


def learned(networks: LearnedNetworks, shape: tuple[int, ...], rounds: int) -> Make:
    def make(loop):
        args = (PROCESS, learned_grid(rounds), LEARNED_DRAFTS, "noise", loop, "learned")
        return renamed(driffusion_method("learned", *learned_slots(networks, shape), *args))

    return make


def learner(plan: Plan, denoiser: Denoiser) -> LearnedNetworks:
    """The plan's learned networks with a denoiser's backbone."""
    return LearnedNetworks(denoiser.network.backbone, plan.cross_draft, plan.cross_draft_width)


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
            for rounds in plan.rounds:
                made[f"{name}, {rounds} rounds"] = learned(learner(plan, denoiser), shape, rounds)
        elif name in MODES:
            for k in plan.drafts:
                made[f"{name}, {k} drafts"] = training_free(model, name, plan.steps, k)
        else:
            raise UserError(f"--methods {name}: choose among {', '.join(METHODS)}")
    return made


def subjects(plan: Plan) -> Iterator[Subject]:
    """One after the other, so that the parameters of one network at a time are in memory."""
    for name, backbone in plan.networks.items():
        backbone = on_this_device(dataclasses.replace(backbone, dtype=plan.dtype), plan.attention)
        for pixels in plan.pixels:
            shape = (pixels // FACTOR, pixels // FACTOR, backbone.channels)
            space = None
            if plan.autoencoder is not None:
                decoder, z = Decoder(plan.autoencoder), jnp.zeros((1, *shape))
                params = random_params(decoder, z, dtype=plan.autoencoder.dtype)
                space = LatentSpace({"decoder": params}, plan.autoencoder)
            for weight in plan.guidance:
                denoiser = random_denoiser(backbone, shape)
                plain = with_backend(denoiser, "xla")
                made, counted = (makers(plan, d, shape, weight) for d in (denoiser, plain))
                own = between_drafts(plan)
                yield Subject(name, denoiser, shape, pixels, made, counted, weight, space, own)


def between_drafts(plan: Plan) -> str:
    """Where a learned refine network's drafts look at each other, and how wide, in words."""
    width = plan.cross_draft_width
    return f"{plan.cross_draft.replace('_', ' ')}, {f'{width} wide' if width else 'full width'}"


def on_this_device(backbone: Backbone, backend: str) -> Backbone:
    """With this backend of attention, or with the one that ``auto`` is here."""
    args = (backbone.dtype, backbone.head_widths, jax.local_devices()[0])
    return backend_of(backbone, resolve_backend(backend, *args))


def config_subject(path: str, plan: Plan) -> Subject:
    """A config's network with random weights, and the samplers of its ``evaluate.methods`` that the plan names.

    The plan's methods may be patterns (``driffusion-*-4``); ``learned`` and the numbers of rounds are the plan's.

    Raises:
      UserError: a pattern fits none.
    """
    config = load_config(path)
    data = planned_data(config)
    backbone, shape = build.backbone(config, data), tuple(data.image_shape)
    if plan.attention != "xla":
        backbone = on_this_device(backbone, plan.attention)
    denoiser = dataclasses.replace(
        random_denoiser(backbone, shape), process=build.process(config), output=build.output(config)
    )

    def made(denoiser: Denoiser) -> dict[str, Make]:
        every = lambda loop: {m.name: m for m in build.methods(config, denoiser, data, loop)}
        known = {name: lambda loop, name=name: every(loop)[name] for name in every(COMPILED)}
        rounds = {r: learned(learner(plan, denoiser), shape, r) for r in plan.rounds}
        known |= {f"learned, {r} rounds": make for r, make in rounds.items()}
        return {name: known[name] for name in matching(known, plan.methods)}

    name = Path(path).name.replace(".py", "")
    counted = made(with_backend(denoiser, "xla"))
    own = between_drafts(plan)
    return Subject(name, denoiser, shape, shape[0], made(denoiser), counted, cross_draft=own)


def matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Names that fit the patterns, in the patterns' order."""
    chosen = []
    for pattern in patterns:
        fit = [n for n in names if fnmatch.fnmatch(n, pattern) or n.startswith(f"{pattern},")]
        if not fit:
            raise UserError(f"--methods {pattern}: choose among {', '.join(names)}")
        chosen += [name for name in fit if name not in chosen]
    return chosen
