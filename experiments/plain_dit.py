"""The DiT of `drf_jax.networks.dit` written out as functions of its parameters, with parts that can be left out.

What `mfu.py` takes apart. With all parts it is the network, to rounding (a test holds them together). Operations of a
call of b states of n tokens, of a network of width w, depth L, mlp ratio r, patches of p numbers, c of f features:

    products      2 b n (L (4 + 2 r) w^2 + 2 p w)                                                                    (1)
    attention     4 b L n^2 w                                                                                        (2)
    conditioning  2 b ((f + w) w + (6 L + 2) w^2)                                                                    (3)
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from drf_jax.networks.dit import DiT, positions
from drf_jax.networks.embed import FEATURES


@dataclasses.dataclass(frozen=True)
class Parts:
    """Which parts there are; the default is all, as in the network."""

    attention: str = "xla"
    """A backend, or none: the values go through."""
    norm: str = "float32"
    """What layer norms are computed in, or none."""
    gelu: bool = True
    modulation: bool = True
    """Shift, scale and gate, and with them the products that make them."""
    fused_qkv: bool = True


def operations(net: DiT, side: int, batch: int) -> dict[str, float]:
    """Equations (1) to (3) for states of ``side`` pixels of a side."""
    n, w, depth = (side // net.patch) ** 2, net.width, net.depth
    numbers = net.patch**2 * net.channels
    return {
        "products": 2.0 * batch * n * (depth * (4 + 2 * net.mlp_ratio) * w**2 + 2 * numbers * w),
        "attention": 4.0 * batch * depth * n**2 * w,
        "conditioning": 2.0 * batch * ((FEATURES + w) * w + (6 * depth + 2) * w**2),
    }


def linear(p: Any, x: jax.Array) -> jax.Array:
    return x @ p["kernel"].astype(x.dtype) + p["bias"].astype(x.dtype)


def conditioning(net: DiT, params: Any, t: jax.Array, cond: Any) -> list[jax.Array]:
    """The modulations of all blocks, and the head's: all that depends on time and condition."""
    c = jax.nn.silu(net.embed().apply({"params": params["embed"]}, t, cond))
    trunk = params["trunk"]
    blocks = [linear(trunk[f"block_{i}"]["modulation"], c) for i in range(net.depth)]
    return [*blocks, linear(params["head"]["modulation"], c)]


def normed(h: jax.Array, shift: jax.Array, scale: jax.Array, parts: Parts) -> jax.Array:
    if parts.norm != "none":
        wide = h.astype(jnp.promote_types(h.dtype, parts.norm))
        wide = wide - wide.mean(-1, keepdims=True)
        h = (wide * jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + 1e-6)).astype(h.dtype)
    return h * (1 + scale[:, None]) + shift[:, None] if parts.modulation else h


def attended(p: Any, x: jax.Array, heads: int, parts: Parts) -> jax.Array:
    split = lambda y: y.reshape(*x.shape[:2], heads, -1)
    if parts.fused_qkv:
        q, k, v = map(split, jnp.split(linear(p["qkv"], x), 3, axis=-1))
    else:
        pieces = jax.tree.map(lambda leaf: jnp.split(leaf, 3, axis=-1), p["qkv"])
        q, k, v = (split(linear({name: pieces[name][i] for name in pieces}, x)) for i in range(3))
    if parts.attention == "none":
        y = q + k + v  # so that no product is left out with it
    else:
        y = jax.nn.dot_product_attention(q, k, v, implementation=parts.attention)
    return linear(p["out"], y.reshape(x.shape))


def body(
    net: DiT, params: Any, x: jax.Array, modulations: list[jax.Array], parts: Parts = Parts()
) -> jax.Array:
    """All that depends on the state."""
    b, height, width, channels = x.shape
    p, rows, columns = net.patch, height // net.patch, width // net.patch
    tokens = x.reshape(b, rows, p, columns, p, channels).transpose(0, 1, 3, 2, 4, 5)
    tokens = tokens.reshape(b, rows * columns, -1).astype(net.dtype)
    h = linear(params["trunk"]["patches"], tokens)
    h = h + positions(rows, columns, net.width).reshape(-1, net.width).astype(h.dtype)
    gated = lambda gate, y: gate[:, None] * y if parts.modulation else y
    for i in range(net.depth):
        block = params["trunk"][f"block_{i}"]
        shift1, scale1, gate1, shift2, scale2, gate2 = jnp.split(modulations[i], 6, axis=-1)
        y = attended(block["attention"], normed(h, shift1, scale1, parts), net.heads, parts)
        h = h + gated(gate1, y)
        y = linear(block["mlp_in"], normed(h, shift2, scale2, parts))
        y = jax.nn.gelu(y, approximate=True) if parts.gelu else y
        h = h + gated(gate2, linear(block["mlp_out"], y))
    y = linear(params["head"]["out"], normed(h, *jnp.split(modulations[-1], 2, axis=-1), parts))
    y = y.reshape(b, rows, columns, p, p, channels).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(x.shape).astype(x.dtype)
