"""The fixed networks of the golden files, and a small problem in float64 for samplers that end where DDIM does."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import pytree
from drf_jax.process.gaussian import prior
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.prediction import from_output
from drf_jax.process.schedule import VE, CosineVP, LinearVP, Process, RectifiedFlow
from drf_jax.sampling import grid, serial
from drf_jax.sampling.loops import PYTHON
from drf_jax.sampling.step import DDIM


@pytree.register
@dataclasses.dataclass(frozen=True)
class TableTanh:
    """tanh(W x + b index / 1000) on a table's index, declared to predict ``output``."""

    weight: jax.Array
    bias: jax.Array
    process: Process = pytree.static()
    output: str = pytree.static()

    def __call__(self, x, t, cond=None):
        index = t * self.process.steps - 1
        out = jnp.tanh(x.reshape(len(x), -1) @ self.weight.T + self.bias * index[:, None] / 1000)
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        return from_output(self.output, out.reshape(x.shape), x, alpha, sigma)


def mixture(z, process):
    return GaussianMixture(*(jnp.asarray(z[f"net/gmm/{k}"]) for k in ("mu", "s", "pi")), process)


def denoiser(z, net, process, output):
    if net == "gmm":
        return mixture(z, process)
    return TableTanh(*(jnp.asarray(z[f"net/tanh/{k}"]) for k in "Wb"), process, output)


def error(ours, golden):
    """Largest difference, relative to the size of the golden numbers where that is above 1."""
    return np.max(np.abs(ours - golden)) / max(1, np.max(np.abs(golden)))


@pytest.fixture(scope="session")
def golden():
    folder = Path(__file__).parents[1] / "golden"
    load = lambda name: np.load(folder / f"{name}.npz")
    return SimpleNamespace(load=load, mixture=mixture, denoiser=denoiser, error=error)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def compilations():
    """Names of the programs that were compiled since the test began."""
    made, compiled = [], "/jax/core/compile/backend_compile_duration"

    def listen(event, seconds, **facts):
        if event == compiled:
            made.append(facts["fun_name"])

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield made
    jax.monitoring.unregister_event_duration_listener(listen)


PROCESSES = [CosineVP(), LinearVP(), VE(10.0), RectifiedFlow()]


@pytest.fixture(params=PROCESSES, ids=repr)
def process(request):
    return request.param


@pytest.fixture
def setting(float64):
    """``setting(process, steps, b)``: a mixture's denoiser, its process, a uniform grid and ``b`` noises."""

    def make(process=PROCESSES[0], steps=12, b=4):
        means = jax.random.uniform(jax.random.key(0), (5, 2, 3), jnp.float64, -1, 1)
        denoiser = GaussianMixture(means, jnp.full(5, 0.3), jnp.full(5, 0.2), process)
        x = prior(process, jax.random.normal(jax.random.key(1), (b, 2, 3), jnp.float64))
        return denoiser, process, grid.uniform(process, steps), x

    return make


@pytest.fixture
def ddim():
    """``ddim(*setting(...))``: serial DDIM's result."""
    return lambda *setting: serial.sample(DDIM(), *setting, loop=PYTHON)
