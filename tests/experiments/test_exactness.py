"""The experiment on the exactness knob, on an untrained teacher."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import build
from drf_jax.errors import UserError
from drf_jax.process.prediction import Prediction
from drf_jax.process.schedule import CosineVP
from drf_jax.sampling import serial
from drf_jax.sampling.grid import uniform
from drf_jax.sampling.loops import PYTHON
from drf_jax.sampling.step import DDIM
from drf_jax.sampling.transition import skip

STEPS = 6


@pytest.fixture(scope="module")
def teacher(untrained_teacher):
    return untrained_teacher


@pytest.fixture(scope="module")
def systems(experiment):
    return experiment("systems")


@pytest.fixture(scope="module")
def free(systems, teacher):
    """Training-free systems by mode and form; rounds of 3 or 2 steps."""
    made = systems.training_free(teacher, uniform(teacher.denoiser.process, STEPS), 2)
    return {(s.mode, s.form): s for s in made}


@pytest.fixture(scope="module")
def start(teacher):
    noise = jax.random.normal(jax.random.key(3), (5, *teacher.data.image_shape))
    return noise, {"label": jnp.arange(5)}


def test_the_jump_is_known_from_its_two_ends(systems):
    process, keys = CosineVP(), jax.random.split(jax.random.key(0), 2)
    p = Prediction(*(jax.random.normal(key, (4, 3)) for key in keys))
    t, s, u = (jnp.full(4, v) for v in (0.9, 0.5, 0.2))
    x, d = skip(process, p, t), skip(process, p, s)
    np.testing.assert_allclose(
        systems.onward(process, x, t, d, s, u), skip(process, p, u), rtol=2e-5, atol=2e-5
    )
    np.testing.assert_allclose(systems.onward(process, x, t, d, s, s), d, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("loop", ["compiled", "python"])
def test_conservative_drafts_alone_are_ddim_with_a_step_a_round(systems, free, start, loop):
    system, (x, cond) = free["conservative", "noise"], start
    loops = {} if loop == "compiled" else {"loop": PYTHON}
    made = systems.drafts_only(system.drafter, system.process, system.rounds, x, cond, **loops)
    grid = system.grid[::3]
    expected = serial.sample(DDIM(), system.teacher, system.process, grid, x, cond)
    np.testing.assert_allclose(made, expected, atol=2e-5)
    assert system.cost(0) == (2, 2)


@pytest.mark.parametrize("mode, form", [("conservative", "noise"), ("aggressive", "data")])
def test_as_many_refinements_as_drafts_are_exact(systems, free, start, mode, form):
    system, (x, cond) = free[mode, form], start
    expected = serial.sample(DDIM(), system.teacher, system.process, system.grid, x, cond)
    slots = (system.drafter, system.refiner)
    errors = []
    for m in range(3):
        made, calls = systems.final_state(system, slots, x, cond, m, None, PYTHON)
        errors.append(float(jnp.abs(made - expected).max()))
        assert (np.asarray(calls) == system.cost(m)).all()
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-4


def test_serial_times_lie_between_the_anchors(systems, free):
    system = free["aggressive", "noise"]
    np.testing.assert_array_equal(system.serial_times, system.rounds.times)
    fine = uniform(system.process, 2 * STEPS)
    coarse = dataclasses.replace(system, serial_grid=fine, drafts=4)
    np.testing.assert_allclose(
        coarse.serial_times, np.stack([fine[:9], [*fine[8:], *[fine[-1]] * 4]])
    )


@pytest.mark.parametrize("mode", ["conservative", "aggressive"])
def test_the_true_error_of_a_round_is_its_distance_from_serial(
    experiment, systems, free, start, mode
):
    estimate, (x, cond) = experiment("error_estimate"), start
    system = free[mode, "noise"]
    slots = (system.drafter, system.refiner)
    errors = estimate.round_errors(system, slots, x, cond, PYTHON)
    assert errors.shape == (5, 2, len(system.rounds.times))
    times = system.rounds.times[0]
    one = dataclasses.replace(system, grid=times)
    end, _ = systems.final_state(one, slots, x, cond, 1, None, PYTHON)
    true = serial.sample(DDIM(), system.teacher, system.process, times, x, cond)
    expected = jnp.sqrt(jnp.mean((end - true) ** 2, axis=(1, 2, 3)))
    np.testing.assert_allclose(errors[:, 1, 0], expected, rtol=1e-3, atol=1e-5)
    assert (errors[:, 0] > 0).all()


def test_rank_correlations(experiment):
    estimate = experiment("error_estimate")
    a = np.array([1.0, 2.0, 5.0, 3.0])
    assert estimate.rank_correlation(a, a**3) == 1
    assert estimate.rank_correlation(a, -a) == -1
    assert estimate.rank_correlation(a, 1 + 1e-9 * a) is None
    estimate_and_true = np.stack([np.stack([a, a[::-1]], 1), np.stack([-a, a], 1)], 1)
    found = estimate.correlations(estimate_and_true, a)
    reversed_ = estimate.rank_correlation(a[::-1], a)
    assert [r["spearman"] for r in found["rounds"]] == [-1, reversed_]
    assert [r["spearman_final"] for r in found["rounds"]] == [1, reversed_]
    assert found["spearman_sum"] == estimate.rank_correlation(a + a[::-1], a)
    assert found["pairs"] == 4


@pytest.fixture(scope="module")
def knob(experiment, teacher, tmp_path_factory):
    spec = build.Evaluate(samples=40, batch_size=40, feature_steps=2, real=100)
    folder = tmp_path_factory.mktemp("run") / "exactness"
    return experiment("exactness").Knob(teacher, spec, folder, steps=STEPS)


@pytest.mark.slow
def test_rows_of_the_knob(experiment, free, knob, tmp_path):
    exactness, rows = experiment("exactness"), experiment("kept_rows")
    system = free["conservative", "noise"]
    jobs = exactness.every_job(knob, [system], [STEPS], [1e-6, 1e3])
    made = rows.make_rows(tmp_path / "results.json", jobs, {}, "test")
    serial_row, *fixed, tight, loose = [row for row, _ in made]
    assert serial_row["rmse_to_teacher_max"] == 0
    assert [r["refinements"] for r in fixed] == [0, 1, 2]
    assert [r["sequential_calls"] for r in fixed] == [2, 4, 6]
    assert fixed[2]["rmse_to_teacher_max"] < 1e-4 < fixed[1]["rmse_to_teacher_max"]
    assert tight["sequential_calls"] == 6 == tight["sequential_calls_p95"]
    assert loose["sequential_calls"] == 4
    assert loose["rmse_to_teacher"] == pytest.approx(fixed[1]["rmse_to_teacher"], rel=1e-4)
    assert [bool(details) for _, details in made] == [False, False, True, False, False, False]
    assert len(made[2][1]["rounds"]) == 2
    exactness.draw(tmp_path / "lines.png", [row for row, _ in made])
    pairs = {"one": exactness.errors_of(knob, system)}
    experiment("error_estimate").scatter_figure(tmp_path / "scatter.png", pairs)
    assert (tmp_path / "lines.png").exists() and (tmp_path / "scatter.png").exists()


def test_a_killed_experiment_makes_only_what_is_missing(experiment, tmp_path):
    rows, path, made = experiment("kept_rows"), tmp_path / "results.json", []

    def job(name, fails=False):
        def make():
            if fails:
                raise KeyboardInterrupt
            made.append(name)
            return {"method": name, "samples": 2}, {"of": name}

        return rows.Job(name, f"mark of {name}", make)

    with pytest.raises(KeyboardInterrupt):
        rows.make_rows(path, [job("a"), job("b"), job("c", fails=True)], {}, "test")
    result = rows.make_rows(path, [job("b"), job("c"), job("a")], {}, "test")
    assert made == ["a", "b", "c"]
    assert [row["method"] for row, _ in result] == ["b", "c", "a"]
    assert [details["of"] for _, details in result] == ["b", "c", "a"]
    assert list(rows.kept(path)) == ["mark of b", "mark of c", "mark of a"]
    path.write_text("{")
    with pytest.raises(UserError, match=r"results\.json is not a results file"):
        rows.make_rows(path, [job("a")], {}, "test")
