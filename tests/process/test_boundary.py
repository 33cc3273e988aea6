import dataclasses
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import pytree
from drf_jax.consistency import ConsistencyDenoiser, ConsistencyFunction
from drf_jax.process.boundary import ConsistencyBoundary, LCMBoundary, NoBoundary
from drf_jax.process.prediction import Prediction, expand, from_output
from drf_jax.process.schedule import VE, CosineVP, LinearVP, Process
from drf_jax.process.table import Table

GOLDEN = Path(__file__).parents[1] / "golden"
PROCESSES = [VE(), CosineVP(), LinearVP()]


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytree.register
@dataclasses.dataclass(frozen=True)
class Output:
    """A denoiser whose network gives these numbers, read as ``kind``."""

    out: jax.Array
    process: Process = pytree.static()
    kind: str = pytree.static()

    def __call__(self, x, t, cond=None):
        return from_output(self.kind, self.out, x, self.process.alpha(t), self.process.sigma(t))


def draw(*shape, key=0):
    return jax.random.normal(jax.random.key(key), shape, jnp.float64)


@pytest.mark.parametrize("kind", ["edm", "v"])
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_at_the_shortest_time_a_consistency_function_is_the_identity(process, kind):
    boundary = ConsistencyBoundary(0.01)
    f = ConsistencyFunction(Output(draw(3, 2, 2), process, kind), process, boundary)
    x, t = draw(3, 2, 2, key=1), jnp.full(3, boundary.t_min(process))
    np.testing.assert_allclose(f(x, t), x, atol=1e-9)
    assert jnp.abs(f(x, 20 * t) - x).max() > 0.05


def test_latent_consistency_functions_are_the_identity_at_their_shortest_time():
    boundary, process = LCMBoundary(), Table()
    f = ConsistencyFunction(Output(draw(3, 2), process, "eps"), process, boundary)
    x = draw(3, 2, key=1)
    np.testing.assert_allclose(f(x, jnp.full(3, process.time_of(0))), x, rtol=1e-12)
    far = jnp.full(3, process.t_max)
    np.testing.assert_allclose(f(x, far), f.denoiser(x, far).x0, rtol=1e-3)


def test_far_from_the_boundary_f_is_close_to_x0():
    x0, process = draw(3, 2), VE()
    f = ConsistencyFunction(Output(x0, process, "x0"), process, ConsistencyBoundary())
    np.testing.assert_allclose(
        f(80 * draw(3, 2, key=1), jnp.full(3, 80.0)), x0, rtol=1e-3, atol=2e-3
    )
    free = ConsistencyFunction(Output(x0, process, "x0"), process, NoBoundary())
    np.testing.assert_array_equal(free(x0, jnp.ones(3)), x0)


@pytest.mark.parametrize("case", ["tanh_4", "gmm_8"])
def test_agrees_with_the_reference_on_consistency_functions(case):
    golden, process, boundary = np.load(GOLDEN / "consistency.npz"), VE(), ConsistencyBoundary()
    sigmas = golden[f"{case}/sigmas64"]
    c_skip, c_out = boundary.scalings(jnp.asarray(sigmas))
    np.testing.assert_allclose(c_skip, golden[f"{case}/c_skip"], rtol=1e-12)
    np.testing.assert_allclose(c_out, golden[f"{case}/c_out"], rtol=1e-12, atol=1e-18)
    trajectory, noise = golden[f"{case}/traj64"], golden[f"{case}/noise"]
    for i, (sigma, following) in enumerate(itertools.pairwise(sigmas)):
        network = Output(jnp.asarray(golden[f"{case}/F64"][i]), process, "edm")
        f = ConsistencyFunction(network, process, boundary)
        x0 = f(jnp.asarray(trajectory[i]), jnp.full(2, sigma))
        spread = np.sqrt(max(following**2 - 0.002**2, 0))
        np.testing.assert_allclose(x0 + spread * noise[i], trajectory[i + 1], atol=1e-10)


def test_agrees_with_the_reference_on_latent_consistency_scalings():
    golden = np.load(GOLDEN / "lcm.npz")
    t = jnp.asarray(Table().time_of(golden["scalings/t"]))
    c_skip, c_out = LCMBoundary().scalings(t)
    np.testing.assert_allclose(c_skip, golden["scalings/c_skip"], rtol=1e-8)
    np.testing.assert_allclose(c_out, golden["scalings/c_out"], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_a_consistency_function_is_a_denoiser(process):
    f = ConsistencyFunction(Output(draw(3, 2), process, "x0"), process, ConsistencyBoundary())
    x, t = draw(3, 2, key=1), jnp.full(3, process.t_max / 3)
    p = ConsistencyDenoiser(f)(x, t)
    assert isinstance(p, Prediction)
    np.testing.assert_array_equal(p.x0, f(x, t))
    alpha, sigma = expand(process.alpha(t), x), expand(process.sigma(t), x)
    np.testing.assert_allclose(alpha * p.x0 + sigma * p.eps, x, rtol=1e-10)
