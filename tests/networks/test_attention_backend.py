"""Attention's backends: the same numbers and parameters, and a refusal where one cannot be had."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import build
from drf_jax.configs import digits
from drf_jax.errors import UserError
from drf_jax.networks.attention import SelfAttention, resolve_backend
from drf_jax.networks.dit import DiT
from drf_jax.networks.sizes import SIZES
from drf_jax.networks.unet import UNet

CPU = jax.devices()[0]
HOPPER = SimpleNamespace(device_kind="NVIDIA H100 80GB HBM3", compute_capability="9.0")
AMPERE = SimpleNamespace(device_kind="NVIDIA A100-SXM4-40GB", compute_capability="8.0")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_xla_is_jax_s_default_bit_for_bit(dtype):
    """Checkpoints and results from before there was a choice stay what they were."""
    x = jax.random.normal(jax.random.key(0), (2, 5, 6)).astype(dtype)
    module = SelfAttention(heads=2, dtype=dtype)
    params = module.init(jax.random.key(1), x)["params"]

    def plain(x):
        qkv = x @ params["qkv"]["kernel"].astype(dtype)
        q, k, v = qkv.reshape(2, 5, 3, 2, 3).transpose(2, 0, 1, 3, 4)
        y = jax.nn.dot_product_attention(q, k, v).reshape(x.shape)
        return y @ params["out"]["kernel"].astype(dtype)

    out = jax.jit(lambda x: module.apply({"params": params}, x))(x)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, jax.jit(plain)(x))


def test_the_backend_reaches_every_attention(monkeypatch):
    asked = []
    attend = jax.nn.dot_product_attention

    def spy(*qkv, implementation):
        asked.append(implementation)
        return attend(*qkv)

    monkeypatch.setattr(jax.nn, "dot_product_attention", spy)
    c = jnp.ones((1, 8))
    dit = DiT(channels=2, width=8, depth=3, heads=2, attention_backend="cudnn")
    unet = UNet(
        channels=2, width=8, multipliers=(1, 1), attention=(False, True), attention_backend="cudnn"
    )
    for net, count in ((dit, 3), (unet, 2 + 1 + 3)):
        asked.clear()
        jax.eval_shape(net.trunk().init, jax.random.key(0), jnp.ones((1, 4, 4, 2)), c)
        assert asked == ["cudnn"] * count
        shapes = lambda net: jax.eval_shape(
            net.trunk().init, jax.random.key(0), jnp.ones((1, 4, 4, 2)), c
        )
        assert shapes(net) == shapes(dataclasses.replace(net, attention_backend="xla"))


def test_head_widths_are_those_of_the_attentions_that_there_are():
    assert SIZES["dit-xl/2"].head_widths == (72,)
    assert SIZES["sd-unet"].head_widths == (40, 80, 160, 160)  # the last is the middle's


@pytest.mark.parametrize(
    ("backend", "dtype", "widths", "device", "expected"),
    [
        ("xla", "float32", (6,), CPU, "xla"),
        ("auto", "bfloat16", (72,), CPU, "xla"),
        ("auto", "bfloat16", (72,), HOPPER, "cudnn"),
        ("auto", "float32", (72,), HOPPER, "xla"),
        ("auto", "bfloat16", (160,), AMPERE, "xla"),
        ("cudnn", "bfloat16", (40, 80, 160), HOPPER, "cudnn"),
    ],
)
def test_what_runs_where(backend, dtype, widths, device, expected):
    assert resolve_backend(backend, dtype, widths, device) == expected


@pytest.mark.parametrize(
    ("dtype", "widths", "device", "message"),
    [
        ("bfloat16", (72,), CPU, "needs an NVIDIA GPU, and the device is cpu; choose xla"),
        ("float32", (72,), HOPPER, "computes in bfloat16, and dtype is float32"),
        ("bfloat16", (36,), HOPPER, "heads of 8, 16, … 256 features, and there are some of 36"),
        ("bfloat16", (80, 160), AMPERE, "… 128 features, and there are some of 160"),
    ],
)
def test_cudnn_that_cannot_be_had(dtype, widths, device, message):
    with pytest.raises(UserError, match=message):
        resolve_backend("cudnn", dtype, widths, device)


def test_a_config_s_backend():
    config = digits.get_config("smoke")
    data = build.source(config)
    assert build.backbone(config, data).attention_backend == "xla"
    config.network.attention_backend = "auto"
    assert build.backbone(config, data).attention_backend == "xla"
    for name, message in (("cudnn", "an NVIDIA GPU"), ("flash", "choose one of auto, xla, cudnn")):
        config.network.attention_backend = name
        with pytest.raises(
            UserError, match=rf"config.network.attention_backend: '{name}'.*{message}"
        ):
            build.backbone(config, data)


def test_a_network_in_another_dtype_has_cudnn_s_attention_only_where_that_can_be():
    dit = DiT(channels=1, width=16, depth=1, heads=2, dtype="bfloat16", attention_backend="cudnn")
    assert build.computing_in(dit, "") is dit is build.computing_in(dit, "bfloat16")
    made = build.computing_in(dit, "float32")
    assert (made.dtype, made.attention_backend) == ("float32", "xla")
    xla = dataclasses.replace(dit, attention_backend="xla")
    assert build.computing_in(xla, "float64").attention_backend == "xla"
