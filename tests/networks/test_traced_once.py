"""Blocks that are alike are traced once, and nothing else changes by it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.networks import dit, resblock, unet
from drf_jax.networks.cross_draft import CrossDraft
from drf_jax.networks.refiner import RefineNetwork

DEPTH, K = 5, 2
DIT = dit.DiT(channels=1, width=8, depth=DEPTH, heads=2)
UNET = unet.UNet(channels=1, width=8, multipliers=(1, 2), attention=(False, True), blocks=2)
ARGS = jnp.ones((K, 3, 8, 8, 1)), jnp.zeros((K, 3)), {}


def network(backbone):
    return RefineNetwork(backbone, K, CrossDraft(K, backbone.heads))


def moved(params):
    """Away from the zeros of a fresh network."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: leaf + rng.normal(size=leaf.shape) / 8, params)


def each_by_itself(monkeypatch):
    for module in (dit, unet):
        monkeypatch.setattr(module, "traced_once", lambda block, trunk, x: block)


@pytest.mark.parametrize("backbone", [DIT, UNET], ids=["DiT", "UNet"])
def test_parameters_and_outputs_are_the_same(backbone, monkeypatch):
    net, key = network(backbone), jax.random.key(0)
    params = net.init(key, *ARGS)["params"]
    found = jax.jit(net.apply)({"params": moved(params)}, *ARGS)
    each_by_itself(monkeypatch)
    jax.tree.map(np.testing.assert_array_equal, params, net.init(key, *ARGS)["params"])
    expected = jax.jit(lambda *args: net.apply(*args))({"params": moved(params)}, *ARGS)
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(found, expected, atol=1e-5)


def traces(monkeypatch, block, backbone, run=jax.make_jaxpr):
    """How often a block is traced in a call of the network."""
    net, seen, original = network(backbone), [], block.__call__
    params = net.init(jax.random.key(0), *ARGS)
    with monkeypatch.context() as patch:
        patch.setattr(block, "__call__", lambda *args: seen.append(1) or original(*args))
        run(net.apply)(params, *ARGS)
    return len(seen)


@pytest.mark.parametrize(
    ("backbone", "block", "once", "each"),
    [
        (DIT, dit.Block, 1, DEPTH),
        # Four of the twelve stages are like another.
        (UNET, resblock.Stage, 8, 12),
    ],
    ids=["DiT", "UNet"],
)
def test_blocks_that_are_alike_are_traced_once(monkeypatch, backbone, block, once, each):
    assert traces(monkeypatch, block, backbone) == once
    each_by_itself(monkeypatch)
    assert traces(monkeypatch, block, backbone) == each


def test_where_nothing_is_traced_nothing_is_compiled_anew(monkeypatch):
    assert traces(monkeypatch, dit.Block, DIT, run=lambda apply: apply) == DEPTH
