"""int8 networks: the formulas, what stays as it is, and that outputs stay near; skipped without qwix."""

import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.denoiser import Denoiser
from drf_jax.errors import UserError
from drf_jax.networks.cross_draft import CrossDraft
from drf_jax.networks.drafter import DraftNetwork
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.networks.quantised import quantised, with_quantised
from drf_jax.networks.refiner import RefineNetwork
from drf_jax.networks.sizes import random_params
from drf_jax.process.schedule import CosineVP

X, T = jax.random.normal(jax.random.key(0), (2, 4, 4, 2)), jnp.array([0.3, 0.6])
TIMES = jnp.full((3, 2), 0.2)


def test_a_product_is_the_formula():
    pytest.importorskip("qwix")
    x = jax.random.normal(jax.random.key(1), (5, 8))
    dense = nn.Dense(6)
    params = dense.init(jax.random.key(2), x)["params"] | {"bias": jnp.arange(6.0)}
    weights, small = quantised(dense, params, x)
    products, _ = quantised(dense, params, x, activations=True)
    w, (q, scale) = np.asarray(params["kernel"]), jax.tree.leaves(small["kernel"])
    assert q.dtype == np.int8
    np.testing.assert_allclose(scale, np.abs(w).max(0, keepdims=True) / 127.5, rtol=1e-6)
    assert np.abs(q - w / scale).max() < 0.501
    np.testing.assert_array_equal(small["bias"], params["bias"])
    one, two = (np.asarray(net.apply({"params": small}, x)) for net in (weights, products))
    np.testing.assert_allclose(one, x @ (q * scale) + np.arange(6.0), atol=1e-5)
    step = np.abs(x).max(1, keepdims=True) / 127.5
    assert np.abs(two - one).max() > 0 and np.all(
        np.abs(two - one) <= 0.501 * step * np.abs(w).sum(0)
    )


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["dit"], indirect=True)
def test_every_network_stays_near(backbone, cond, jit):
    pytest.importorskip("qwix")
    networks = {
        DenoisingNetwork(backbone): (X, T, cond),
        DraftNetwork(backbone, 3): (X, T, TIMES, cond),
        RefineNetwork(backbone, 3, CrossDraft(3, backbone.heads)): (
            jnp.stack([X] * 3),
            TIMES,
            cond,
        ),
    }
    size = lambda tree: sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
    for network, args in networks.items():
        params = jax.tree.map(lambda p: 10 * p, random_params(network, *args, dtype="float32"))
        made, small = quantised(network, params, *args, activations=True)
        assert size(small) < size(params)

        def error(params, small, args, network=network, made=made):
            out = network.apply({"params": params}, *args)
            away = made.apply({"params": small}, *args) - out
            return jnp.linalg.norm(away) / jnp.linalg.norm(out)

        assert 0 < jit(error)(params, small, args) < 0.2


@pytest.mark.slow
def test_a_denoiser_s_copy(backbone, cond, jit):
    pytest.importorskip("qwix")
    network = DenoisingNetwork(backbone)
    params = random_params(network, X, T, cond, dtype="float32")
    denoiser = Denoiser(params, network, CosineVP(), "v")
    copy = with_quantised(denoiser, X, T, cond)
    a, b = (jit(lambda d, x: d(x, T, cond).x0)(d, X) for d in (denoiser, copy))
    assert 0 < jnp.abs(a - b).max() < 0.1 * jnp.abs(a).max()


def test_without_qwix(backbone, cond, monkeypatch):
    monkeypatch.setitem(sys.modules, "qwix", None)
    with pytest.raises(UserError, match=r"pip install 'drf_jax\[int8\]'"):
        quantised(DenoisingNetwork(backbone), {}, X, T, cond)
