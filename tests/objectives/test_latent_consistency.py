import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import pytree
from drf_jax.errors import UserError
from drf_jax.objectives.distance import squared
from drf_jax.objectives.guidance import GuidedModel, with_guidance
from drf_jax.objectives.latent_consistency import LatentConsistency
from drf_jax.process.boundary import LCMBoundary
from drf_jax.process.prediction import from_output
from drf_jax.process.schedule import Process
from drf_jax.process.table import Table
from drf_jax.sampling.guidance import Guided
from drf_jax.sampling.transition import skip

PROCESS = Table("scaled_linear", 1000, 8.5e-4, 0.012)
GRID = tuple(PROCESS.time_of(np.arange(50)[::-1] * 20).tolist())
NULL = {"label": jnp.array(4)}
KEY = jax.random.key(2)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytree.register
@dataclasses.dataclass(frozen=True)
class Network:
    """eps = sin(w x + t + label [+ guidance]), noting what it was shown."""

    w: jax.Array
    process: Process = pytree.static()
    shown: list = pytree.static()

    def __call__(self, x, t, cond=None):
        self.shown.append((x, t, cond))
        shift = t + cond["label"] + cond.get("guidance", 0.0)
        out = jnp.sin(self.w * x + shift[:, None])
        return from_output("eps", out, x, self.process.alpha(t), self.process.sigma(t))


class Shown(list):
    __hash__ = object.__hash__


def setup(**options):
    student, teacher = Shown(), Shown()
    f = LatentConsistency(
        lambda w: Network(w, PROCESS, student),
        GuidedModel(lambda w: Network(w, PROCESS, teacher), NULL),
        PROCESS,
        GRID,
        **{"stride": 5, "distance": squared, **options},
    )
    return f, student, teacher


def data(b=40):
    x0 = jax.random.normal(jax.random.key(0), (b, 3), jnp.float64)
    return {"x0": x0, "cond": {"label": jnp.arange(b) % 4}}


def test_the_loss_by_hand():
    f, student, teacher = setup()
    frozen = {"teacher": jnp.float64(0.5), "target": jnp.float64(0.9)}
    loss, _ = with_guidance(f, 1.0, 5.0)(jnp.float64(0.7), frozen, data(), KEY)
    [(x_s, s, at_s), (x, t, at_t)] = student
    w = at_t["guidance"]
    assert w.min() >= 1 and w.max() <= 5 and len(np.unique(w)) == 40
    np.testing.assert_array_equal(at_s["guidance"], w)
    # Five steps of the grid at once, and at its end to its last time.
    i, j = (np.argmin(np.abs(np.subtract.outer(u, np.array(GRID))), 1) for u in (t, s))
    np.testing.assert_array_equal(j, np.minimum(i + 5, 49))
    assert i.min() <= 5 and 40 <= i.max() < 49
    # x̂_s: one DDIM step of the teacher, guided by each example's own weight.
    label, plain = {"label": at_t["label"]}, Network(jnp.float64(0.5), PROCESS, Shown())
    for row in range(3):
        p = Guided(plain, w[row], NULL)(x, t, label)
        np.testing.assert_allclose(x_s[row], skip(PROCESS, p, s)[row], rtol=1e-9)
    target = f.function(jnp.float64(0.9))(x_s, s, at_t)
    expected = squared(f.function(jnp.float64(0.7))(x, t, at_t), target)
    np.testing.assert_allclose(loss, expected, rtol=1e-9)
    assert "guidance" not in teacher[0][2]


def test_a_pair_at_the_shortest_time_teaches_the_boundary():
    """Where s is the last time, the target is the state x̂_s itself."""
    f, student, _ = setup(stride=49, target="stop_gradient")
    frozen = {"teacher": jnp.float64(0.5)}
    loss, _ = with_guidance(f, 2.0, 2.0)(jnp.float64(0.7), frozen, data(), KEY)
    [(x_s, s, _), (x, t, cond)] = student
    np.testing.assert_allclose(s, GRID[-1])
    np.testing.assert_allclose(loss, squared(f.function(jnp.float64(0.7))(x, t, cond), x_s))


def test_what_does_not_fit_the_grid_is_an_error():
    with pytest.raises(UserError, match="stride = 50: choose 1 to 49"):
        setup(stride=50)
    with pytest.raises(UserError, match=r"must not be below t_min = 0\.5"):
        setup(boundary=LCMBoundary(t_min=0.5))
