"""The DiT taken apart: whole it is the library's network, its operations are XLA's, and every part is measured."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.data.conditioning import null_cond
from drf_jax.networks.dit import DiT
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.networks.sizes import SIZES, random_params

NET = DiT(channels=3, patch=2, width=16, depth=2, heads=2, num_classes=5)


@pytest.fixture(scope="module")
def plain_dit(experiment):
    return experiment("plain_dit")


@pytest.fixture(scope="module")
def mfu(experiment):
    return experiment("mfu")


def example(net, batch=3):
    """Parameters large enough for every part to matter, and a call's arguments."""
    x = jax.random.normal(jax.random.key(0), (batch, 6, 8, net.channels))
    args = (x, jnp.linspace(0.2, 0.9, batch), {"label": jnp.arange(batch)})
    params = random_params(DenoisingNetwork(net), *args, dtype="float32")
    return jax.tree.map(lambda leaf: 10 * leaf, params), args


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.02)])
def test_whole_it_is_the_network(plain_dit, dtype, tolerance):
    net = dataclasses.replace(NET, dtype=dtype)
    params, (x, t, cond) = example(net)
    expected = np.asarray(DenoisingNetwork(net).apply({"params": params}, x, t, cond))
    size = np.abs(expected).max()
    for parts in (plain_dit.Parts(), plain_dit.Parts(fused_qkv=False)):
        made = plain_dit.conditioning(net, params, t, cond)
        np.testing.assert_allclose(
            plain_dit.body(net, params, x, made, parts) / size, expected / size, atol=tolerance
        )


def test_every_part_counts(plain_dit):
    params, (x, t, cond) = example(NET)
    made = plain_dit.conditioning(NET, params, t, cond)
    whole = plain_dit.body(NET, params, x, made)
    for change in ({"attention": "none"}, {"norm": "none"}, {"gelu": False}, {"modulation": False}):
        less = plain_dit.body(NET, params, x, made, plain_dit.Parts(**change))
        assert less.shape == whole.shape and jnp.abs(less - whole).max() > 1e-2


def test_operations_are_those_that_xla_counts(plain_dit):
    """XLA also counts what is done number by number: a little more."""
    net = dataclasses.replace(SIZES["dit-s/2"], depth=2)
    network = DenoisingNetwork(net)
    args = (jnp.zeros((2, 32, 32, 4)), jnp.zeros(2), null_cond(net, 2))
    params = jax.eval_shape(lambda: random_params(network, *args))
    lowered = jax.jit(lambda p, *a: network.apply({"params": p}, *a)).lower(params, *args)
    formula = sum(plain_dit.operations(net, 32, 2).values())
    assert 1 < lowered.cost_analysis()["flops"] / formula < 1.03


def test_dit_xl_at_512_px_has_the_published_operations(plain_dit):
    """Peebles & Xie 2023, table 4: 524.60 Gflops, a multiply-add being one."""
    count = plain_dit.operations(SIZES["dit-xl/2"], 64, 1)
    assert sum(count.values()) / 2e9 == pytest.approx(524.6, rel=0.01)


def test_every_part_is_measured_once(mfu, tmp_path, capsys):
    calls = [mfu.Call("tiny", NET, 8, 2)]
    path = tmp_path / "mfu.json"
    parts = ["whole", "hoisted", "products"]
    args = (calls, parts, [32], 2, path, "as tested")
    mfu.main(*args)
    found = json.loads(path.read_text())
    assert [e["part"] for e in found["parts"]] == parts
    for e in found["parts"]:
        assert ("mfu" in e) == ("largest_difference" in e) == (e["part"] != "products")
        assert e.get("largest_difference", 0) < 1e-5
    assert [e["product"] for e in found["products"]] == ["qkv", "out", "mlp_in", "mlp_out"]
    assert found["products"][0]["shape"] == [2 * 16, 16, 48]
    mfu.main(*args, resume=True)
    assert json.loads(path.read_text())["parts"] == found["parts"]
    assert "tiny,  2 states, hoisted" in capsys.readouterr().out
