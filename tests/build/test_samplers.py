"""Every sampler by its name: the section's options reach it, and its row tells what it really costs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import build
from drf_jax.data.digits import Digits
from drf_jax.denoiser import Denoiser
from drf_jax.errors import UserError
from drf_jax.process.gaussian import prior
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.schedule import CosineVP
from drf_jax.sampling import driffusion, multistep, paradigms, serial, srds
from drf_jax.sampling.dpmpp import DPMSolverPP
from drf_jax.sampling.draft import AggressiveDrafter
from drf_jax.sampling.edm import EDM, churn_gamma
from drf_jax.sampling.grid import karras, log_snr, uniform
from drf_jax.sampling.loops import COMPILED, PYTHON
from drf_jax.sampling.refine import ParallelRefiner
from drf_jax.sampling.step import DDIM
from drf_jax.sampling.unipc import UniPC

PROCESS, DATA, B = CosineVP(0.98), Digits(), 6
MEANS = jax.random.uniform(jax.random.key(0), (5, 8, 8, 1), minval=-1)
MIXTURE = GaussianMixture(MEANS, jnp.full(5, 0.3), jnp.full(5, 0.2), PROCESS)
WIDTHS = []


@dataclasses.dataclass(frozen=True)
class Exact:
    """The mixture's exact x0 network, which notes how many states it sees in each call."""

    def apply(self, variables, x, t, cond):
        jax.debug.callback(lambda x: WIDTHS.append(len(x)), x)
        return MIXTURE(x, t).x0


DENOISER = Denoiser({}, Exact(), PROCESS, "x0")
KEYS = jax.random.split(jax.random.key(1), B)
NOISE = jax.random.normal(jax.random.key(2), (B, 8, 8, 1))
COND = {"label": jnp.arange(B, dtype=jnp.int32)}


@pytest.fixture(scope="module", autouse=True)
def quickly(quick_compile):
    with quick_compile():
        yield


def made(section, loop=COMPILED):
    return build.method("row", section, DENOISER, DATA, loop, "p")


def run(method):
    return method.sampler(NOISE, KEYS, COND)


def start(grid):
    return prior(PROCESS, NOISE, grid[0])


def dpm():
    g = log_snr(PROCESS, 5)
    return multistep.sample(DPMSolverPP(), DENOISER, PROCESS, g, start(g))


def unipc():
    g = uniform(PROCESS, 5)
    return multistep.sample(UniPC(3), DENOISER, PROCESS, g, start(g))


def churned():
    g = karras(PROCESS, 5)
    step = EDM(churn_gamma(1.0, 5), 0.1, 20.0, 1.01)
    return serial.sample(step, DENOISER, PROCESS, g, start(g), None, KEYS)


def picard():
    g = uniform(PROCESS, 9)
    return paradigms.sample(DENOISER, PROCESS, g, start(g), window=4, tolerance=0.2)


def parareal():
    g = uniform(PROCESS, 9)
    return srds.sample(DENOISER, PROCESS, g, start(g), blocks=3, iterations=2)


def parareal_within():
    g = uniform(PROCESS, 9)
    return srds.sample(DENOISER, PROCESS, g, start(g), blocks=3, iterations=3, tolerance=0.05)


def drafted():
    g = uniform(PROCESS, 9)
    rounds = driffusion.make_rounds(g, 3, 0)
    drafter, refiner = AggressiveDrafter(DENOISER, "data", 2), ParallelRefiner(DENOISER)
    options = dict(form="noise", refinements=3, tolerance=0.1)
    return driffusion.sample(drafter, refiner, PROCESS, rounds, start(g), **options)


DRAFTED = {"name": "driffusion", "mode": "aggressive", "steps": 9, "drafts": 3}
CASES = [
    ({"name": "multistep", "solver": "dpmpp-2m", "steps": 5, "grid": "log_snr"}, dpm, (5, 5)),
    ({"name": "multistep", "solver": "unipc", "order": 3, "steps": 5}, unipc, (5, 5)),
    (
        {"name": "edm", "steps": 5, "s_churn": 1.0, "s_min": 0.1, "s_max": 20, "s_noise": 1.01},
        churned,
        (9, 9),
    ),
    ({"name": "paradigms", "steps": 9, "window": 4, "tolerance": 0.2}, picard, (9, 30)),
    ({"name": "srds", "steps": 9, "blocks": 3, "iterations": 2}, parareal, (15, 27)),
    (
        {"name": "srds", "steps": 9, "blocks": 3, "iterations": 3, "tolerance": 0.05},
        parareal_within,
        (21, 39),
    ),
    (
        {**DRAFTED, "draft_form": "data", "order": 2, "refinements": 3, "tolerance": 0.1},
        drafted,
        (10, 28),
    ),
]


@pytest.mark.parametrize(
    ("section", "library", "most"), CASES, ids=lambda v: getattr(v, "__name__", str(v)[:40])
)
def test_a_section_is_the_librarys_sampler(section, library, most):
    method, result = made(section), library()
    np.testing.assert_allclose(run(method), getattr(result, "x", result), atol=2e-5)
    assert (method.sequential_calls, method.network_evaluations) == most
    if section.get("tolerance"):
        calls, evaluated = method.cost(NOISE, KEYS, COND).T
        np.testing.assert_array_equal(calls, result.sequential_calls)
        np.testing.assert_array_equal(evaluated, result.network_evaluations)
        assert 0 < calls.mean() < most[0] and method.tolerance == section["tolerance"]
    else:
        assert method.cost is None and method.tolerance is None


def test_loops_agree():
    section = {"name": "paradigms", "steps": 9, "window": 4, "tolerance": 0.2}
    compiled, python = made(section), made(section, PYTHON)
    np.testing.assert_allclose(run(python), run(compiled), atol=2e-5)
    np.testing.assert_array_equal(*(m.cost(NOISE, KEYS, COND) for m in (compiled, python)))


def test_tolerance_zero_is_off_except_in_paradigms():
    assert made({**DRAFTED, "refinements": 2}).cost is None
    exact = made({"name": "paradigms", "steps": 9, "window": 4, "tolerance": 0.0})
    g = uniform(PROCESS, 9)
    ddim = serial.sample(DDIM(), DENOISER, PROCESS, g, start(g))
    np.testing.assert_allclose(run(exact), ddim, atol=2e-5)
    assert exact.tolerance == 0 and exact.cost is not None


@pytest.mark.parametrize(
    "section",
    [
        {"name": "serial", "steps": 3, "step": "heun"},
        {"name": "multistep", "solver": "unipc", "steps": 4},
        {"name": "edm", "steps": 3},
        {"name": "srds", "steps": 4, "blocks": 2},
        {"name": "driffusion", "mode": "conservative", "steps": 6, "drafts": 2},
        {"name": "paradigms", "steps": 6, "window": 6, "tolerance": 1e9},
    ],
    ids=lambda v: v["name"],
)
@pytest.mark.parametrize("weight", [1.0, 2.0])
def test_costs_are_what_the_network_sees_and_guidance_doubles_the_evaluations(section, weight):
    method = made({**section, "guidance": weight})
    WIDTHS.clear()
    jax.block_until_ready(run(method))
    jax.effects_barrier()
    widths = list(WIDTHS)
    calls, evaluated = method.sequential_calls, method.network_evaluations
    if method.cost is not None:
        calls, evaluated = np.asarray(method.cost(NOISE, KEYS, COND)).mean(0)
    assert len(widths) == calls and sum(widths) == B * evaluated


@pytest.mark.parametrize("weight", [1.0, 2.0])
def test_its_programs_can_be_compiled_beforehand(weight):
    section = {"name": "paradigms", "steps": 4, "window": 2, "tolerance": 0.1, "guidance": weight}
    method = made(section)
    for program in (method.sampler, method.cost):
        program.func.lower(*program.args, NOISE, KEYS, COND)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"name": "multistep", "steps": 4}, r"\.solver is missing"),
        ({"name": "multistep", "steps": 4, "solver": "x"}, "solver = 'x': choose one of dpmpp-2m"),
        (
            {"name": "multistep", "steps": 4, "solver": "dpmpp-2m", "order": 3},
            "order = 3: dpmpp-2m is of order 2",
        ),
        ({"name": "multistep", "steps": 4, "solver": "unipc", "order": 4}, r"order = 4: choose"),
        ({"name": "edm", "steps": 4, "s_churn": -1.0}, r"s_churn = -1\.0: must be at least 0"),
        ({"name": "paradigms", "steps": 4, "window": 4}, r"\.tolerance is missing"),
        ({"name": "paradigms", "steps": 4, "window": 5, "tolerance": 0.1}, "window = 5: choose 1"),
        ({"name": "paradigms", "steps": 4, "window": 4, "tolerance": -1.0}, r"tolerance = -1\.0"),
        ({"name": "srds", "steps": 9, "blocks": 2}, "blocks = 2: must divide the grid's 9"),
        ({"name": "srds", "steps": 9, "blocks": 3, "iterations": 4}, "iterations = 4: choose 1"),
        ({"name": "srds", "steps": 9, "blocks": 3, "tolerance": -0.1}, r"tolerance = -0\.1: must"),
        ({**DRAFTED, "draft_form": "x"}, "draft_form = 'x': choose one of data, noise"),
        ({**DRAFTED, "tolerance": -0.1}, r"tolerance = -0\.1: must be at least 0"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_built(section, message):
    with pytest.raises(UserError, match=rf"^p.*{message}"):
        made(section)
