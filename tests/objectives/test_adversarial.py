import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import pytree
from drf_jax.objectives.adversarial import Adversarial
from drf_jax.process.prediction import Prediction
from drf_jax.process.schedule import CosineVP

PROCESS, GRID = CosineVP(), (0.9, 0.6, 0.3)
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


class Shown(list):
    __hash__ = object.__hash__


@pytree.register
@dataclasses.dataclass(frozen=True)
class Scale:
    """x0 = tanh(w x), noting what it was shown."""

    w: jax.Array
    shown: list = pytree.static()

    def __call__(self, x, t, cond=None):
        self.shown.append((x, t))
        return Prediction(jnp.tanh(self.w * x), x)


class Linear:
    """Heads that are linear in the features: D_k = features · weights[k]."""

    def apply(self, variables, maps, cond):
        w = variables["params"]
        return jnp.stack([m @ v for m, v in zip(maps, w, strict=True)])


def features(params, x):
    """Two maps; the second one is not linear in x."""
    return params * x, x**2


def setup(**options):
    shown = SimpleNamespace(student=Shown(), teacher=Shown())
    f = Adversarial(
        lambda w: Scale(w, shown.student),
        lambda w: Scale(w, shown.teacher),
        Linear(),
        features,
        PROCESS,
        GRID,
        **options,
    )
    return f, shown


def params(w=0.8):
    return {"student": jnp.float64(w), "discriminator": [jnp.arange(3.0), jnp.array([1.0, -1, 2])]}


def frozen(w=1.3):
    return {"teacher": jnp.float64(w), "features": jnp.float64(0.5)}


def data(b=6):
    return {"x0": jax.random.normal(jax.random.key(1), (b, 3), jnp.float64), "cond": None}


def test_the_losses_by_hand():
    f, shown = setup(distill_weight=2.0, r1_weight=0.1)
    loss, metrics = f(params(), frozen(), data(), KEY)
    [(x_s, s)], [(x_t, t)] = shown.student, shown.teacher
    assert set(np.asarray(s).round(6)) <= set(GRID)
    fake, real, heads = jnp.tanh(0.8 * x_s), data()["x0"], params()["discriminator"]
    score = lambda x: jnp.stack([0.5 * x @ heads[0], x**2 @ heads[1]])
    distill = PROCESS.alpha(t) * jnp.mean((fake - jnp.tanh(1.3 * x_t)) ** 2, -1)
    np.testing.assert_allclose(metrics["distill"], distill)
    np.testing.assert_allclose(metrics["student"], 2 * distill - score(fake).sum(0))
    # D_k is linear in its features, so its gradient there is the head itself.
    np.testing.assert_allclose(metrics["r1"], (heads[0] ** 2).sum() + (heads[1] ** 2).sum())
    hinge = jnp.maximum(0, 1 - score(real)) + jnp.maximum(0, 1 + score(fake))
    np.testing.assert_allclose(metrics["discriminator"], hinge.sum(0) + 0.1 * metrics["r1"])
    np.testing.assert_allclose(loss, metrics["student"] + metrics["discriminator"])


def test_times_and_states_are_the_students_own_and_the_teachers_are_everywhere():
    f, shown = setup()
    f(params(), frozen(), data(4000), KEY)
    [(x_s, s)], [(x_t, t)] = shown.student, shown.teacher
    np.testing.assert_allclose(sorted(set(np.asarray(s).round(6))), sorted(GRID))
    assert 0 < t.min() < 0.01 and 0.98 < t.max() < 1
    eps = (x_s - PROCESS.alpha(s)[:, None] * data(4000)["x0"]) / PROCESS.sigma(s)[:, None]
    noise = (x_t - PROCESS.alpha(t)[:, None] * jnp.tanh(0.8 * x_s)) / PROCESS.sigma(t)[:, None]
    for each in (eps, noise):
        assert abs(each.mean()) < 0.05 and abs(each.std() - 1) < 0.03
    assert abs((eps * noise).mean()) < 0.05


def test_each_player_has_the_gradient_of_its_own_loss():
    f, _ = setup(r1_weight=0.1)

    def part(name):
        return jax.grad(lambda p: f(p, frozen(), data(), KEY)[1][name].mean())(params())

    whole = jax.grad(lambda p: f(p, frozen(), data(), KEY)[0].mean())(params())
    student, discriminator = part("student"), part("discriminator")
    assert all((leaf == 0).all() for leaf in student["discriminator"])
    assert discriminator["student"] == 0
    np.testing.assert_allclose(whole["student"], student["student"])
    jax.tree.map(np.testing.assert_allclose, whole["discriminator"], discriminator["discriminator"])
    assert whole["student"] != 0 and jnp.abs(whole["discriminator"][0]).max() > 0


def test_a_student_that_the_teacher_confirms_has_no_distillation_loss():
    """Data at one point: the exact x0 is that point at every noise level."""
    point = jnp.array([0.3, -0.2, 0.9])
    exact = lambda shift: lambda x, t, cond=None: Prediction(point + shift + 0 * x, x)
    f = Adversarial(exact, exact, Linear(), features, PROCESS, GRID)
    at = {**frozen(), "teacher": jnp.float64(0)}
    distill = lambda shift: f({**params(), "student": shift}, at, data(), KEY)[1]["distill"]
    np.testing.assert_allclose(distill(jnp.float64(0)), 0, atol=1e-30)
    slope = jax.grad(lambda shift: distill(shift).mean())(jnp.float64(0.1))
    assert slope > 0  # towards the teacher
