"""EDM's and PFGM++'s teachers through the build: one is the limit of the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import build
from drf_jax.configs import digits_edm, digits_pfgmpp
from drf_jax.data.digits import Digits
from drf_jax.denoiser import Denoiser
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.process.pfgmpp import PFGMPP
from drf_jax.process.schedule import VE
from drf_jax.sampling.loops import COMPILED

DATA, B = Digits(), 8
KEYS = jax.random.split(jax.random.key(1), B)
NOISE = jax.random.normal(jax.random.key(2), (B, 8, 8, 1))
COND = {"label": jnp.arange(B, dtype=jnp.int32)}


@pytest.fixture(scope="module", autouse=True)
def quickly(quick_compile):
    with quick_compile():
        yield


@pytest.fixture(scope="module")
def network(quickly):
    config = digits_edm.get_config("smoke")
    config.network.update(width=16, depth=1, heads=2)
    made = DenoisingNetwork(build.backbone(config, DATA))
    params = build.init_teacher(made, DATA, jax.random.key(0))
    # The output layer starts at zero; here it must say something.
    return made, jax.tree.map(
        lambda leaf: leaf + 0.05 * jnp.sin(jnp.arange(leaf.size)).reshape(leaf.shape), params
    )


def loss_and_samples(config, network):
    made, params = network
    objective = build.denoising(config, made)
    batch = {"x0": 0.5 * NOISE, "cond": COND}
    loss, _ = objective(params, None, batch, jax.random.key(3))
    denoiser = Denoiser(params, made, objective.process, objective.output)
    samples = {}
    for name in ("heun-7", "driffusion-conservative-8"):
        section = digits_edm.get_config().evaluate.methods[name]
        method = build.method(name, section, denoiser, DATA, COMPILED, "p")
        samples[name] = np.asarray(method.sampler(NOISE, KEYS, COND))
    return loss, samples


def test_pfgmpp_with_many_dimensions_is_edm(network):
    edm, config = digits_edm.get_config(), digits_pfgmpp.get_config()
    assert build.process(edm) == VE(80.0)
    assert build.process(config) == PFGMPP(80.0, dimensions=128.0)
    loss, samples = loss_and_samples(edm, network)
    assert np.all(np.isfinite(loss))

    config.process.dimensions = 1e12
    limit, limit_samples = loss_and_samples(config, network)
    np.testing.assert_allclose(limit, loss, rtol=1e-4)
    for name in samples:
        np.testing.assert_allclose(limit_samples[name], samples[name], atol=1e-3)

    config.process.dimensions = 4.0
    few, few_samples = loss_and_samples(config, network)
    assert np.min(np.abs(few / loss - 1)) > 1e-4
    for name in samples:
        each = np.abs(few_samples[name] - samples[name]).max((1, 2, 3))
        assert np.all(each > 1e-2)


def test_rows_of_a_pfgmpp_teacher_are_its_own_family(network):
    config = digits_pfgmpp.get_config()
    denoiser = Denoiser({}, network[0], build.process(config), build.output(config))
    methods = build.methods(config, denoiser, DATA, COMPILED)
    assert {m.name: m.sequential_calls for m in methods}["pfgmpp-35"] == 35
    for method in methods:
        assert method.name.startswith("pfgmpp-")
        assert method.name.endswith(f"-{method.sequential_calls}")
