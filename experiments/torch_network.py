"""`drf_jax.networks.dit` in PyTorch, with the same names, so that parameters go over leaf by leaf."""

import math
from typing import Any

import jax
import numpy as np
import torch
import torch.nn.functional as F
from flax.traverse_util import flatten_dict
from torch import nn

from drf_jax.networks.dit import DiT, positions
from drf_jax.networks.embed import FEATURES

Tensor = torch.Tensor


class Embed(nn.Module):
    def __init__(self, net: DiT):
        super().__init__()
        self.time_in = nn.Linear(FEATURES, net.width)
        self.time_out = nn.Linear(net.width, net.width)
        self.label = nn.Embedding(net.num_classes + 1, net.width)

    def forward(self, t: Tensor, label: Tensor) -> Tensor:
        half = FEATURES // 2
        steps = torch.arange(half, dtype=t.dtype, device=t.device)
        angles = 1000.0 * t[:, None] * torch.exp(-math.log(10000.0) * steps / half)
        features = torch.cat([angles.cos(), angles.sin()], dim=-1).to(self.time_in.weight.dtype)
        return self.time_out(F.silu(self.time_in(features))) + self.label(label)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, width = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).reshape(x.shape))


def modulated_norm(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]


class Block(nn.Module):
    def __init__(self, net: DiT):
        super().__init__()
        self.modulation = nn.Linear(net.width, 6 * net.width)
        self.attention = Attention(net.width, net.heads)
        self.mlp_in = nn.Linear(net.width, net.mlp_ratio * net.width)
        self.mlp_out = nn.Linear(net.mlp_ratio * net.width, net.width)

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(F.silu(c)).chunk(6, dim=-1)
        h = h + gate1[:, None] * self.attention(modulated_norm(h, shift1, scale1))
        y = F.gelu(self.mlp_in(modulated_norm(h, shift2, scale2)), approximate="tanh")
        return h + gate2[:, None] * self.mlp_out(y)


class Trunk(nn.Module):
    def __init__(self, net: DiT, side: int):
        super().__init__()
        self.patch, self.depth = net.patch, net.depth
        self.patches = nn.Linear(net.patch**2 * net.channels, net.width)
        for i in range(net.depth):
            self.add_module(f"block_{i}", Block(net))
        tokens = side // net.patch
        table = positions(tokens, tokens, net.width).reshape(-1, net.width)
        self.register_buffer("positions", torch.from_numpy(table), persistent=False)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        b, height, width, channels = x.shape
        p, rows, columns = self.patch, height // self.patch, width // self.patch
        x = x.reshape(b, rows, p, columns, p, channels).permute(0, 1, 3, 2, 4, 5)
        h = self.patches(x.reshape(b, rows * columns, -1)) + self.positions
        for i in range(self.depth):
            h = getattr(self, f"block_{i}")(h, c)
        return h


class Head(nn.Module):
    def __init__(self, net: DiT):
        super().__init__()
        self.modulation = nn.Linear(net.width, 2 * net.width)
        self.out = nn.Linear(net.width, net.patch**2 * net.channels)

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        return self.out(modulated_norm(h, *self.modulation(F.silu(c)).chunk(2, dim=-1)))


class Network(nn.Module):
    """``(x [b, h, w, channels], t [b], label [b]) -> [b, h, w, channels]`` in x's dtype."""

    def __init__(self, net: DiT, side: int):
        super().__init__()
        self.embed, self.trunk, self.head = Embed(net), Trunk(net, side), Head(net)

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        b, height, width, channels = x.shape
        p = self.trunk.patch
        c = self.embed(t, label)
        y = self.head(self.trunk(x.to(c.dtype), c), c)
        y = y.reshape(b, height // p, width // p, p, p, channels).permute(0, 1, 3, 2, 4, 5)
        return y.reshape(x.shape).to(x.dtype)


def tensor(leaf: Any) -> Tensor:
    """A JAX array as a float32 tensor."""
    return torch.from_numpy(np.array(jax.device_get(leaf), np.float32))


def from_jax(net: DiT, side: int, params: Any) -> Network:
    """The network with the parameters of a ``DenoisingNetwork``, on the CPU, in float32."""
    state = {}
    for path, leaf in flatten_dict(params, sep=".").items():
        place, _, kind = path.rpartition(".")
        name = {"kernel": "weight", "embedding": "weight", "bias": "bias"}[kind]
        state[f"{place}.{name}"] = tensor(leaf).T if kind == "kernel" else tensor(leaf)
    with torch.device("meta"):
        shell = Network(net, side)
    shell.load_state_dict(state, assign=True)
    shell.trunk.positions = Trunk(net, side).positions.float()
    return shell.eval().requires_grad_(False)
