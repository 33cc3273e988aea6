"""Both halves of guidance and all drafts are one network call: 2 K b states side by side."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from drf_jax import pytree
from drf_jax.process.prediction import Prediction
from drf_jax.process.schedule import CosineVP
from drf_jax.sampling import driffusion, grid
from drf_jax.sampling.draft import ConservativeDrafter
from drf_jax.sampling.guidance import Guided
from drf_jax.sampling.loops import PYTHON
from drf_jax.sampling.refine import ParallelRefiner

WIDTHS = []


@pytree.register
@dataclasses.dataclass(frozen=True)
class Widths:
    """Notes the states of each call when it is traced."""

    def __call__(self, x, t, cond=None):
        jax.debug.callback(WIDTHS.append, len(x), ordered=True)
        assert x.shape[:1] == t.shape == cond["label"].shape
        return Prediction(x, x)


def test_a_guided_round_is_two_calls():
    process, b, k, rounds = CosineVP(), 3, 4, 2
    model = Guided(Widths(), jnp.float32(2.0), {"label": jnp.int32(9)})
    drafter, refiner = ConservativeDrafter(model), ParallelRefiner(model)
    plan = driffusion.make_rounds(grid.uniform(process, rounds * (k + 1)), k, drafter.extra_steps)
    x, cond = jnp.ones((b, 2, 2, 1)), {"label": jnp.arange(b, dtype=jnp.int32)}
    WIDTHS.clear()
    jax.block_until_ready(driffusion.sample(drafter, refiner, process, plan, x, cond, loop=PYTHON))
    jax.effects_barrier()
    np.testing.assert_array_equal(np.array(WIDTHS), rounds * [2 * b, 2 * k * b])
