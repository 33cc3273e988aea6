"""SRDS: serial DDIM after as many iterations as blocks, and real costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.sampling import srds
from drf_jax.sampling.loops import PYTHON


def run(*setting, **options):
    """In Python, so that one compiled step serves many cases; the loops are compared below."""
    return srds.sample(*setting, loop=PYTHON, **options)


@pytest.mark.parametrize("blocks", [1, 4, 12])
def test_as_many_iterations_as_blocks_are_exact(setting, ddim, process, blocks):
    given = setting(process)
    exact = ddim(*given)
    ours = run(*given, blocks=blocks, iterations=blocks)
    np.testing.assert_allclose(ours.x, exact, atol=1e-10)


def test_every_iteration_is_closer(setting, ddim):
    given = setting(steps=36, b=16)
    exact, errors = ddim(*given), []
    for k in (1, 3, 5):
        errors.append(jnp.abs(run(*given, blocks=6, iterations=k).x - exact).max())
    assert np.all(np.diff(errors) < 0) and errors[0] > 1e-4


def test_costs_are_the_formulae(setting):
    given = setting(steps=12)
    for blocks, k in ((3, 2), (4, 4)):
        result, steps = run(*given, blocks=blocks, iterations=k), 12 // blocks
        np.testing.assert_array_equal(result.sequential_calls, blocks + k * (steps + blocks))
        np.testing.assert_array_equal(result.network_evaluations, blocks + k * (12 + blocks))
        assert result.sequential_calls[0] == srds.calls(blocks, steps, k)
        assert result.network_evaluations[0] == srds.network_evaluations(blocks, steps, k)


@pytest.mark.parametrize(("blocks", "steps"), [(1, 5), (4, 3), (5, 1), (6, 6)])
def test_pipelined_calls_are_the_length_of_the_schedule(blocks, steps):
    # When each block end of each iteration can be there: after F on the old start and the sweep on the new one.
    ready = [list(range(blocks + 1))]
    for _ in range(blocks):
        now = [0]
        for i in range(blocks):
            now.append(max(ready[-1][i] + steps, now[i] + 1))
        ready.append(now)
    for k, times in enumerate(ready):
        assert srds.pipelined_calls(blocks, steps, k) == times[-1]
    assert srds.pipelined_calls(blocks, steps, blocks) == blocks * steps


@pytest.mark.parametrize("iterations", [1, 3])
def test_reported_costs_are_real_and_loops_agree(setting, iterations):
    mixture, process, g, x = setting()
    widths = []

    @jax.tree_util.Partial
    def counting(x, t, cond):
        jax.debug.callback(lambda t: widths.append(len(t)), t)
        return mixture(x - cond["shift"][:, None, None], t)

    options = dict(cond={"shift": jnp.arange(4.0)}, blocks=3, iterations=iterations)
    a = srds.sample(counting, process, g, x, **options)
    jax.effects_barrier()
    assert len(widths) == a.sequential_calls[0]
    assert sum(widths) == len(x) * a.network_evaluations[0]
    b = srds.sample(counting, process, g, x, loop=PYTHON, **options)
    for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(p, q, atol=1e-12)


def test_tolerance_stops_each_sample_by_itself(setting, ddim):
    denoiser, process, g, x = setting(steps=36, b=3)
    exact = ddim(denoiser, process, g, x)
    options = dict(blocks=6, iterations=6, tolerance=0.01)
    together = run(denoiser, process, g, x, **options)
    assert len(np.unique(together.sequential_calls)) > 1
    for i in range(len(x)):
        alone = run(denoiser, process, g, x[i : i + 1], **options)
        np.testing.assert_allclose(alone.x[0], together.x[i], atol=1e-12)
        assert alone.sequential_calls[0] == together.sequential_calls[i]
    tight = run(denoiser, process, g, x, blocks=6, iterations=6, tolerance=1e-12)
    np.testing.assert_allclose(tight.x, exact, atol=1e-10)
    loose = run(denoiser, process, g, x, blocks=6, iterations=6, tolerance=1e9)
    np.testing.assert_array_equal(loose.sequential_calls, srds.calls(6, 6, 1))
    assert jnp.abs(together.x - exact).max() < jnp.abs(loose.x - exact).max()


def test_errors_name_the_number_and_the_limit(setting):
    for blocks in (0, 5):
        with pytest.raises(UserError, match=f"blocks = {blocks}: must divide the grid's 12"):
            run(*setting(), blocks=blocks)
    with pytest.raises(UserError, match=r"iterations = 5: choose 1 to blocks = 4"):
        run(*setting(), blocks=4, iterations=5)
