"""The same DiT in PyTorch: the same weights give the same output. PyTorch is not a requirement: skipped without it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.networks.dit import DiT
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.networks.sizes import random_params

torch = pytest.importorskip("torch")

NET = DiT(channels=3, patch=2, width=16, depth=2, heads=2, num_classes=5)


def test_the_same_weights_give_the_same_output(experiment):
    x = jax.random.normal(jax.random.key(0), (3, 8, 8, 3))
    t, cond = jnp.linspace(0.2, 0.9, 3), {"label": jnp.array([0, 5, 2])}
    network = DenoisingNetwork(NET)
    params = random_params(network, x, t, cond, dtype="float32")
    params = jax.tree.map(lambda leaf: 10 * leaf, params)  # so that every part matters
    expected = np.asarray(network.apply({"params": params}, x, t, cond))
    copy = experiment("torch_network").from_jax(NET, 8, params)
    args = [torch.from_numpy(np.array(a)) for a in (x, t, cond["label"])]
    with torch.inference_mode():
        y = copy(*args).numpy()
    np.testing.assert_allclose(
        y / np.abs(expected).max(), expected / np.abs(expected).max(), atol=1e-4
    )


def test_both_are_timed_side_by_side(experiment, tmp_path, capsys):
    module = experiment("torch_dit")
    path = tmp_path / "torch.json"
    calls = [module.Call("tiny", NET, 8, batch) for batch in (1, 2)]
    module.main(calls, ["eager"], 2, path, "as tested")
    entries = json.loads(path.read_text())["calls"]
    assert [(e["batch"], e["torch_mode"]) for e in entries] == [(1, "eager"), (2, "eager")]
    for e in entries:
        assert e["torch_ms"] > 0 and e["xla"]["ms"] > 0 and e["xla"]["largest_difference"] < 1e-4
    assert "tiny, 2 states: JAX xla" in capsys.readouterr().out
