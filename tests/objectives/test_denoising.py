import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.objectives.denoising import Denoising
from drf_jax.process import weighting
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.prediction import expand
from drf_jax.process.schedule import CosineVP, RectifiedFlow
from drf_jax.process.time import uniform

PROCESS = CosineVP()
KEY = jax.random.key(5)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@dataclasses.dataclass(frozen=True)
class Toy:
    """Any network: ``f(params, x, t, cond)``, noting what it was shown."""

    f: object
    shown: list = dataclasses.field(default_factory=list, compare=False)

    def apply(self, variables, x, t, cond):
        self.shown.append((x, t, cond))
        return self.f(variables["params"], x, t, cond)


def draw(b, key=0):
    return jax.random.normal(jax.random.key(key), (b, 3, 2), jnp.float64)


def objective(network, output="x0", weight=weighting.x0, process=PROCESS, **options):
    return Denoising(network, process, output, weight, uniform, **options)


@pytest.mark.parametrize("process", [PROCESS, RectifiedFlow()])
def test_exact_denoiser_has_the_smallest_loss(process):
    means = jax.random.uniform(jax.random.key(1), (4, 3, 2), jnp.float64, -1, 1)
    mixture = GaussianMixture(means, jnp.full(4, 0.25), jnp.full(4, 0.3), process)
    which = jax.random.randint(jax.random.key(2), (4000,), 0, 4)
    x0 = means[which] + 0.3 * draw(4000)
    scaled = Toy(lambda params, x, t, cond: (1 + params) * mixture(x, t, cond).x0)
    loss = lambda params: jnp.mean(
        objective(scaled, process=process)(params, None, {"x0": x0, "cond": None}, KEY)[0]
    )
    assert loss(0.0) < min(loss(0.1), loss(-0.1))
    # The exact denoiser is the mean of x0: no scale of it does better, up to the noise of 4,000 samples.
    assert abs(jax.grad(loss)(0.0)) < 0.03


def test_v_weighting_is_the_plain_error_in_v():
    x0, network = draw(6), Toy(lambda params, x, t, cond: jnp.sin(3 * x))
    loss, metrics = objective(network, "v", weighting.v)({}, None, {"x0": x0, "cond": None}, KEY)
    [(x, t, _)] = network.shown
    alpha, sigma = (expand(f(t), x) for f in (PROCESS.alpha, PROCESS.sigma))
    eps = (x - alpha * x0) / sigma
    error = jnp.sin(3 * x) - (alpha * eps - sigma * x0)
    np.testing.assert_allclose(loss, jnp.mean(error**2, (1, 2)), rtol=1e-10)
    np.testing.assert_allclose(
        loss, metrics["x0_error"] / jnp.cos(t * jnp.pi / 2 - jnp.pi / 2) ** 2
    )


def test_states_and_times_follow_the_process():
    x0, network = jnp.zeros((5000, 1, 1)), Toy(lambda params, x, t, cond: x)
    loss, _ = objective(network)({}, None, {"x0": x0, "cond": None}, KEY)
    [(x, t, _)] = network.shown
    assert loss.shape == (5000,)
    assert 0 < t.min() < 0.01 and 0.98 < t.max() < PROCESS.t_max
    noise = x[:, 0, 0] / PROCESS.sigma(t)
    assert abs(noise.mean()) < 0.05 and abs(noise.std() - 1) < 0.05


@pytest.mark.parametrize(("share", "nulls"), [(0.0, 0), (1.0, 8)])
def test_the_network_is_shown_the_dropped_labels(share, nulls):
    network = Toy(lambda params, x, t, cond: x)
    batch = {"x0": draw(8), "cond": {"label": jnp.arange(8)}}
    objective(network, dropout=share, null={"label": jnp.array(10)})({}, None, batch, KEY)
    assert (network.shown[0][2]["label"] == 10).sum() == nulls
