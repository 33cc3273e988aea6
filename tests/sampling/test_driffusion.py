"""Identities of draft–refine sampling, on an exact denoiser in float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import pytree
from drf_jax.errors import UserError
from drf_jax.process.gaussian import prior
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.schedule import VE, CosineVP, LinearVP, RectifiedFlow
from drf_jax.sampling import driffusion, grid, serial
from drf_jax.sampling.draft import AggressiveDrafter, ConservativeDrafter
from drf_jax.sampling.loops import COMPILED, PYTHON
from drf_jax.sampling.refine import ParallelRefiner
from drf_jax.sampling.step import DDIM
from drf_jax.sampling.transition import walk

PROCESSES = [CosineVP(), LinearVP(), VE(10.0), RectifiedFlow()]
DRAFTERS = [ConservativeDrafter, AggressiveDrafter]
FORMS = ["noise", "data"]


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def mixture(process):
    means = jax.random.uniform(jax.random.key(0), (5, 2, 3), jnp.float64, -1, 1)
    return GaussianMixture(means, jnp.full(5, 0.3), jnp.full(5, 0.2), process)


def noise(b=4):
    return jax.random.normal(jax.random.key(1), (b, 2, 3), jnp.float64)


def setting(process=PROCESSES[0], steps=12):
    return mixture(process), grid.uniform(process, steps), prior(process, noise())


def run(drafter, process, g, x, drafts, **options):
    rounds = driffusion.make_rounds(g, drafts, drafter.extra_steps)
    refiner = ParallelRefiner(drafter.denoiser)
    return driffusion.sample(drafter, refiner, process, rounds, x, **options)


def ddim(denoiser, process, g, x):
    return serial.trajectory(DDIM(), denoiser, process, g, x)


@pytest.mark.parametrize("form", FORMS)
def test_one_aggressive_draft_is_ddim_with_a_late_prediction(form):
    # K = 1, aggressive: the draft is made with p(d_prev) = p(r_prev), so this is DDIM itself.
    process = CosineVP()
    denoiser, g, x = setting(process)
    ours = run(AggressiveDrafter(denoiser, form), process, g, x, 1, form=form).x
    np.testing.assert_allclose(ours, ddim(denoiser, process, g, x)[-1], atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_one_conservative_draft_is_ddim(form):
    process = CosineVP()
    denoiser, g, x = setting(process)
    ours = run(ConservativeDrafter(denoiser, form), process, g, x, 1, form=form).x
    np.testing.assert_allclose(ours, ddim(denoiser, process, g, x)[-1], atol=1e-10)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("drafter", DRAFTERS)
@pytest.mark.parametrize("drafts", [3, 5])
def test_as_many_refinements_as_drafts_are_exact(process, form, drafter, drafts):
    # Rectified flow starts where α = 0 and 12 steps are not divided by 5 drafts: both must work.
    denoiser, g, x = setting(process)
    drafter = drafter(denoiser, form)
    result = run(drafter, process, g, x, drafts, form=form, refinements=drafts)
    np.testing.assert_allclose(result.x, ddim(denoiser, process, g, x)[-1], atol=1e-10)
    few = run(drafter, process, g, x, drafts, form=form, refinements=1)
    assert np.max(np.abs(few.x - result.x)) > 1e-6


def test_after_m_refinements_the_first_states_are_serial():
    process = CosineVP()
    denoiser, g, x = setting(process)
    exact = ddim(denoiser, process, g, x)
    drafter = ConservativeDrafter(denoiser)
    for m in (1, 2, 3):
        trace = run(drafter, process, g, x, 5, refinements=m, record=True).trace
        gap = np.max(np.abs(trace.refined[0] - exact[1:7]), axis=(1, 2, 3))
        assert np.all(gap[: m + 1] < 1e-12) and np.all(gap[m + 1 :] > 1e-8)


@pytest.mark.parametrize("form", FORMS)
def test_drafts_on_the_true_trajectory_are_refined_to_ddim(form):
    process = CosineVP()
    denoiser, g, x = setting(process)
    exact = ddim(denoiser, process, g, x)
    times = jnp.broadcast_to(jnp.asarray(g[3:8])[:, None], (5, len(x)))
    p = ParallelRefiner(denoiser)(exact[3:7], times[:4], None)
    walked = walk(process, form, exact[3], p, times)
    np.testing.assert_allclose(walked, exact[3:8], atol=1e-12)


@pytest.mark.parametrize("drafts", [1, 2, 3, 5, 11])
@pytest.mark.parametrize("refinements", [1, 2])
@pytest.mark.parametrize("n", [12, 13])
def test_costs_are_the_formulae(drafts, refinements, n):
    if refinements > drafts:
        refinements = drafts
    process = CosineVP()
    denoiser, g, x = setting(process, n)
    m = refinements
    rounds = -(-n // (drafts + 1))
    conservative = run(ConservativeDrafter(denoiser), process, g, x, drafts, refinements=m)
    np.testing.assert_array_equal(conservative.sequential_calls, rounds * (1 + m))
    np.testing.assert_array_equal(conservative.network_evaluations, rounds * (1 + m * drafts))
    rounds = -(-n // drafts)
    aggressive = run(AggressiveDrafter(denoiser), process, g, x, drafts, refinements=m)
    np.testing.assert_array_equal(aggressive.sequential_calls, 1 + rounds * m)
    np.testing.assert_array_equal(aggressive.network_evaluations, 1 + rounds * m * drafts)
    for drafter, result in ((ConservativeDrafter, conservative), (AggressiveDrafter, aggressive)):
        r = driffusion.make_rounds(g, drafts, drafter.extra_steps)
        expected = driffusion.cost(drafter(denoiser), r, m)
        assert expected == (result.sequential_calls[0], result.network_evaluations[0])


@pytree.register
@dataclasses.dataclass
class Counting:
    """Counts how often a denoiser is really called, and on how many states."""

    denoiser: GaussianMixture
    calls: list = pytree.static(default_factory=list)

    def __hash__(self):
        return id(self)

    def __call__(self, x, t, cond=None):
        self.calls.append(len(x))
        return self.denoiser(x, t, cond)


@pytest.mark.parametrize(("drafter", "rounds"), [(ConservativeDrafter, 3), (AggressiveDrafter, 4)])
def test_reported_costs_are_real(drafter, rounds):
    process = CosineVP()
    denoiser, g, x = setting(process)
    counting = Counting(denoiser)
    with jax.disable_jit():
        result = run(drafter(counting), process, g, x, 3)
    assert len(counting.calls) == result.sequential_calls[0]
    assert sum(counting.calls) == len(x) * result.network_evaluations[0]


@pytest.mark.parametrize("drafter", DRAFTERS)
def test_a_tolerance_of_zero_error_is_exact_and_a_large_one_costs_nothing(drafter):
    process = CosineVP()
    denoiser, g, x = setting(process)
    drafter = drafter(denoiser)
    exact = ddim(denoiser, process, g, x)[-1]
    tight = run(drafter, process, g, x, 4, refinements=4, tolerance=1e-13)
    np.testing.assert_allclose(tight.x, exact, atol=1e-10)
    loose = run(drafter, process, g, x, 4, refinements=4, tolerance=1e3)
    np.testing.assert_allclose(loose.x, run(drafter, process, g, x, 4).x, atol=1e-14)
    assert np.all(loose.trace.refinements == 1)
    middle = run(drafter, process, g, x, 4, refinements=4, tolerance=0.02)
    error = [np.abs(r.x - exact).max() for r in (tight, middle, loose)]
    assert error[0] < error[1] < error[2]
    assert np.all(middle.sequential_calls < tight.sequential_calls)


def test_a_sample_under_tolerance_does_not_depend_on_its_batch():
    process = CosineVP()
    denoiser, g, x = setting(process)
    drafter = AggressiveDrafter(denoiser)
    options = dict(refinements=4, tolerance=0.012)
    together = run(drafter, process, g, x, 4, **options)
    assert len(np.unique(together.trace.refinements)) > 1
    for i in range(len(x)):
        alone = run(drafter, process, g, x[i : i + 1], 4, **options)
        np.testing.assert_allclose(alone.x[0], together.x[i], atol=1e-12)
        assert alone.sequential_calls[0] == together.sequential_calls[i]


@pytest.mark.parametrize("drafter", DRAFTERS)
@pytest.mark.parametrize("refinements", [1, 3])
def test_python_and_compiled_loops_agree(drafter, refinements):
    process = CosineVP()
    denoiser, g, x = setting(process)
    drafter = drafter(denoiser, order=2)
    options = dict(refinements=refinements, tolerance=0.01, record=True)
    a = run(drafter, process, g, x, 3, loop=COMPILED, **options)
    b = run(drafter, process, g, x, 3, loop=PYTHON, **options)
    for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(p, q, atol=1e-12)


def test_the_error_is_the_distance_between_draft_and_refined_state():
    process = CosineVP()
    denoiser, g, x = setting(process)
    trace = run(ConservativeDrafter(denoiser), process, g, x, 3, record=True).trace
    gap = np.asarray(trace.refined[:, :3] - trace.drafts)
    np.testing.assert_allclose(trace.error, np.sqrt(np.mean(gap**2, axis=(3, 4))), atol=1e-12)
    assert np.all(trace.error[:, 0] == 0) and np.all(trace.error[:, 1:] > 0)


def test_second_order_drafts_are_closer_where_predictions_are_smooth():
    # A single wide Gaussian has a smooth prediction; three drafts a round on a fine grid.
    process = CosineVP()
    denoiser = GaussianMixture(jnp.zeros((1, 6)), jnp.ones(1) * 0.5, jnp.ones(1), process)
    x = prior(process, noise().reshape(4, 6))
    g = grid.uniform(process, 96)
    exact = ddim(denoiser, process, g, x)[-1]
    errors = []
    for order in (1, 2):
        drafter = AggressiveDrafter(denoiser, "data", order)
        errors.append(np.abs(run(drafter, process, g, x, 3).x - exact).max())
    assert errors[1] < errors[0] / 3


def test_conditioning_reaches_every_draft():
    @jax.tree_util.Partial
    def denoiser(x, t, cond):
        shift = cond["shift"].reshape(-1, *[1] * (x.ndim - 1))
        return mixture(CosineVP())(x - shift, t)

    process = CosineVP()
    _, g, x = setting(process)
    cond = {"shift": jnp.arange(4.0)}
    together = run(ConservativeDrafter(denoiser), process, g, x, 3, cond=cond).x
    for i in range(4):
        alone = run(
            ConservativeDrafter(denoiser),
            process,
            g,
            x[i : i + 1],
            3,
            cond={"shift": jnp.full(1, float(i))},
        )
        np.testing.assert_allclose(alone.x[0], together[i], atol=1e-12)


def test_errors_name_the_number_and_the_limit():
    process = CosineVP()
    denoiser, g, x = setting(process)
    with pytest.raises(UserError, match=r"drafts = 12.*at most 11"):
        driffusion.make_rounds(g, 12, 1)
    with pytest.raises(UserError, match="drafts = 0"):
        driffusion.make_rounds(g, 0, 1)
    with pytest.raises(UserError, match="form = 'nose'"):
        run(ConservativeDrafter(denoiser), process, g, x, 3, form="nose")
    with pytest.raises(UserError, match=r"refinements = 4.*1 to drafts = 3"):
        run(ConservativeDrafter(denoiser), process, g, x, 3, refinements=4)
