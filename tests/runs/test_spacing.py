"""Where along the teacher's walk a student's steps end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.configs import digits_distilled
from drf_jax.errors import UserError
from drf_jax.noise import sample_keys
from drf_jax.runs.distil import stages_of
from drf_jax.runs.trajectories import Walk, teacher_trajectories
from drf_jax.sampling import serial
from drf_jax.sampling.grid import make_grid
from drf_jax.sampling.step import DDIM


def config(method, **changes):
    made = digits_distilled.get_config(f"method={method},smoke")
    made.method.update(changes)
    return made


def test_with_a_larger_spacing_steps_are_shorter_at_the_noise():
    nodes = lambda n, spacing: Walk("uniform", 48, n, spacing=spacing).kept
    assert nodes(4, 1.0) == (0, 12, 24, 36, 48)
    assert nodes(4, 2.0) == (0, 3, 12, 27, 48)
    assert nodes(4, 0.5) == (0, 24, 34, 42, 48)
    assert nodes(5, 1.0) == (0, 10, 19, 29, 38, 48)


@pytest.mark.parametrize("method", ["step", "draft_refine", "draft_refine_anchored"])
def test_the_students_nodes_are_the_walks(random_teacher, method):
    made = config(method, teacher_steps=48, spacing=2.0)
    _, (stage,) = stages_of(made, random_teacher)
    grid = make_grid("uniform", random_teacher.denoiser.process, 48)
    expected = 48 * np.linspace(0, 1, len(stage.times)) ** 2
    np.testing.assert_array_equal(stage.times, grid[np.floor(expected + 0.5).astype(int)])


def test_a_student_that_has_learned_nothing_walks_its_nodes(random_teacher):
    _, (stage,) = stages_of(config("step", spacing=1.5), random_teacher)
    params = stage.init(random_teacher.denoiser.params, jax.random.key(0))
    noise, keys = jnp.ones((2, 8, 8, 1)), sample_keys(jax.random.key(1), np.arange(2))
    cond = {"label": jnp.array([1, 2], jnp.int32)}
    found = stage.method(params, stage.calls[0], 1.0).sampler(noise, keys, cond)
    denoiser = random_teacher.denoiser
    x = denoiser.process.sigma(stage.times[0]) * noise
    expected = serial.sample(DDIM(), denoiser, denoiser.process, stage.times, x, cond)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert len(set(np.diff(stage.times).round(6))) > 1


def test_cached_are_the_teachers_states_there_and_no_others(random_teacher, tmp_path):
    def states(name, walk):
        made = teacher_trajectories(random_teacher, walk, tmp_path / name, 0, 3, 3, "float32")
        return made.states

    every = states("all.npy", Walk("uniform", 8, 8))
    spaced = Walk("uniform", 8, 2, spacing=2.0)
    np.testing.assert_array_equal(states("some.npy", spaced), every[:, [0, 2, 8]])
    with pytest.raises(UserError, match="spacing"):
        states("some.npy", Walk("uniform", 8, 2, spacing=3.0))
    with pytest.raises(UserError, match="spacing"):
        states("some.npy", Walk("uniform", 8, 2))


@pytest.mark.parametrize("method", ["step", "draft_refine"])
def test_a_spacing_that_leaves_a_step_empty_is_refused(random_teacher, method):
    with pytest.raises(
        UserError, match=r"spacing = 6: .* would end at 0, .*no two may be the same"
    ):
        stages_of(config(method, spacing=6.0), random_teacher)
    with pytest.raises(UserError, match=r"config\.method\.spacing = -1: must be positive"):
        stages_of(config(method, spacing=-1.0), random_teacher)
