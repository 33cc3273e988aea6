"""A teacher that goes on as a PFGM++: of many extra dimensions it is the teacher, of few its noise has heavy tails."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import build
from drf_jax.configs import digits_distilled
from drf_jax.data.digits import Digits
from drf_jax.errors import UserError
from drf_jax.process.gaussian import perturb
from drf_jax.process.pfgmpp import PFGMPP, Augmented
from drf_jax.process.schedule import VE, CosineVP, LinearVP, RectifiedFlow
from drf_jax.runs.distil import stages_of
from drf_jax.sampling.loops import COMPILED

DATA = Digits()
MANY = 1e12


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def teacher(random_teacher):
    return random_teacher


def stage_of(teacher, dimensions, **changes):
    config = digits_distilled.get_config("method=pfgmpp,smoke")
    config.method.update(dimensions=dimensions, **changes)
    _, (stage,) = stages_of(config, teacher)
    return stage


def noises(n=3):
    keys = jax.random.split(jax.random.key(2), n)
    return jax.random.normal(jax.random.key(1), (n, *DATA.image_shape)), keys


@pytest.mark.parametrize("process", [VE(), CosineVP(), LinearVP(), RectifiedFlow()])
def test_it_is_edms_process_in_other_units(process):
    """x_t / α_t of the augmented process is PFGM++'s own perturbation at σ_t / α_t."""
    augmented, own = Augmented(process, 3.0), PFGMPP(dimensions=3.0)
    normal, keys = noises(4)
    t = jnp.linspace(0.2, 0.9, 4) * process.t_max
    sigma = augmented.sigma(t) / augmented.alpha(t)
    x0 = jax.random.normal(jax.random.key(3), normal.shape)
    ours = perturb(augmented, x0, augmented.noise(normal, keys), t)
    theirs = perturb(own, x0, own.noise(normal, keys), sigma)
    scale = augmented.alpha(t)[:, None, None, None]
    np.testing.assert_allclose(ours, scale * theirs, rtol=1e-12)
    np.testing.assert_allclose(augmented.radius(t), own.radius(sigma), rtol=1e-12)
    np.testing.assert_allclose(augmented.time(augmented.log_snr(t)), t, rtol=1e-9)
    np.testing.assert_array_equal(augmented.network_time(t), process.network_time(t))


def test_of_many_dimensions_it_learns_as_the_teacher_did(teacher):
    params, batch = teacher.denoiser.params, noises(4)[0]
    batch = {"x0": jnp.tanh(batch), "cond": {"label": jnp.arange(4)}}
    own = build.denoising(teacher.config, teacher.network)

    def loss(dimensions):
        (phase,) = stage_of(teacher, dimensions).training(params, Path()).phases
        return phase.objective(params, {}, batch, jax.random.key(5))[0]

    expected = own(params, {}, batch, jax.random.key(5))[0]
    np.testing.assert_allclose(loss(MANY), expected, rtol=1e-4)
    assert np.abs(loss(4.0) / expected - 1).max() > 0.1


@pytest.mark.parametrize("weight", [1.0, 3.0])
@pytest.mark.parametrize("solver", ["dpmpp-2m", "unipc"])
def test_untrained_of_many_dimensions_it_samples_as_the_teacher(teacher, solver, weight):
    stage = stage_of(teacher, MANY, solver=solver)
    params = stage.init(teacher.denoiser.params, jax.random.key(0))
    made = stage.method(params, 4, weight)
    section = {"name": "multistep", "solver": solver, "steps": 4, "guidance": weight}
    own = build.method("own", section, teacher.denoiser, DATA, COMPILED, "own")
    assert made.name == "pfgmpp-4"
    assert (made.sequential_calls, made.network_evaluations) == (4, 4 if weight == 1 else 8)
    assert (own.sequential_calls, own.network_evaluations) == (4, made.network_evaluations)
    normal, keys = noises()
    cond = {"label": jnp.array([1, 2, 3])}
    expected = own.sampler(normal, keys, cond)
    np.testing.assert_allclose(made.sampler(normal, keys, cond), expected, rtol=0, atol=1e-3)
    few = stage_of(teacher, 3.0, solver=solver).method(params, 4, weight)
    assert np.abs(few.sampler(normal, keys, cond) - expected).max() > 0.1


def test_mistakes_name_the_key():
    spec = build.distillation_spec(digits_distilled.get_config("method=pfgmpp"))
    assert spec.dimensions == 128
    for wrong, message in (
        ({"dimensions": 0.0}, r"config\.method\.dimensions = 0\.0: must be positive"),
        ({"solver": "euler"}, r"config\.method\.solver = 'euler': choose one of dpmpp-2m, unipc"),
        ({"guidance": (1.0, 2.0)}, r"config\.method\.guidance = .*: there is no teacher to guide"),
    ):
        with pytest.raises(UserError, match=message):
            dataclasses.replace(spec, **wrong)
    with pytest.raises(UserError, match="must be positive"):
        Augmented(VE(), -1.0)
