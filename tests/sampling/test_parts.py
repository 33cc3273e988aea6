"""A sampler in parts: the same images, and nothing left to compile for its networks once they were."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.process.gaussian import prior
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.schedule import CosineVP
from drf_jax.sampling import driffusion, grid, loops
from drf_jax.sampling.anchored import AnchoredDrafter
from drf_jax.sampling.distilled import DistilledDrafter
from drf_jax.sampling.draft import AggressiveDrafter, ConservativeDrafter
from drf_jax.sampling.parts import Parts
from drf_jax.sampling.refine import ParallelRefiner, refine

PROCESS = CosineVP()
DRAFTERS = [
    ConservativeDrafter,
    AggressiveDrafter,
    DistilledDrafter,
    lambda model: ConservativeDrafter(model, order=2),
    lambda model: AnchoredDrafter(model.process),
]
NAMES = ["conservative", "aggressive", "distilled", "second order", "anchored"]


def parts(drafter, decode=None):
    means = jax.random.uniform(jax.random.key(0), (5, 3), jnp.float32, -1, 1)
    mixture = GaussianMixture(means, jnp.full(5, 0.3), jnp.full(5, 0.2), PROCESS)
    drafter = drafter(mixture)
    rounds = driffusion.make_rounds(grid.uniform(PROCESS, 12), 2, drafter.extra_steps)
    return Parts(drafter, ParallelRefiner(mixture), PROCESS, rounds, decode=decode)


def start(batch=2):
    return prior(PROCESS, jax.random.normal(jax.random.key(1), (batch, 3)))


@pytest.mark.parametrize("drafter", DRAFTERS, ids=NAMES)
def test_images_are_the_sampler_s(drafter):
    made, x = parts(drafter), start()
    result = driffusion.sample(made.drafter, made.refiner, PROCESS, made.rounds, x)
    np.testing.assert_allclose(made(x), result.x, atol=1e-5)


@pytest.mark.parametrize("drafter", DRAFTERS, ids=NAMES)
def test_what_was_compiled_is_what_is_called(drafter, compilations):
    batch = 3 + DRAFTERS.index(drafter)  # of no other test
    decode = jax.tree_util.Partial(jax.jit(lambda scale, x: scale * x), jnp.full(3, 2.0))
    made, x = parts(drafter, decode), start(batch)
    assert made.programs(x)[0][0].func is refine  # the longest
    jax.block_until_ready(x)
    del compilations[:]
    made.compile(x)
    assert len(compilations) == 3
    del compilations[:]
    found = made(x)
    assert not {"draft", "refine", "<lambda>"} & {
        name.split("(")[-1].strip(")") for name in compilations
    }
    np.testing.assert_array_equal(found, 2 * parts(drafter)(x))


def test_a_round_is_two_programs_only_in_parts(monkeypatch):
    seen, pass_in_parts = [], driffusion.pass_in_parts
    monkeypatch.setattr(
        driffusion, "pass_in_parts", lambda *args: seen.append(1) or pass_in_parts(*args)
    )
    made, x = parts(ConservativeDrafter), start()
    slots = made.drafter, made.refiner, PROCESS, made.rounds, x
    driffusion.sample(*slots, loop=loops.PYTHON)
    assert not seen
    driffusion.sample(*slots, loop=loops.PARTS)
    assert len(seen) == len(made.rounds.times)
