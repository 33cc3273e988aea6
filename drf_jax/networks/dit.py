"""Diffusion transformer with adaLN-Zero (Peebles & Xie, 2023, arXiv 2212.09748).

Patches of the image become tokens (a reshape and a matrix product: there is no convolution, which
XLA on CPU runs slowly inside a scan), a fixed 2-D sin-cos table tells their place, ``depth`` blocks
(``adaln``) follow, and a modulated norm with a zero-initialised product turns tokens into patches.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from drf_jax.errors import UserError
from drf_jax.networks.adaln import Block, modulated_norm
from drf_jax.networks.attention import check_backend
from drf_jax.networks.cross_draft import CrossDraft, CrossDraftAttention
from drf_jax.networks.embed import Embedding, parameter_dtype
from drf_jax.networks.traced_once import traced_once


def positions(height: int, width: int, features: int) -> Float[np.ndarray, "h w f"]:
    """Sin-cos table: a quarter of the features each for sin and cos of row and column."""
    quarter = features // 4
    frequencies = 10000.0 ** (-np.arange(quarter) / quarter)
    rows = np.arange(height)[:, None, None] * frequencies + np.zeros((height, width, quarter))
    columns = np.arange(width)[None, :, None] * frequencies + np.zeros_like(rows)
    return np.concatenate([np.sin(rows), np.cos(rows), np.sin(columns), np.cos(columns)], axis=-1)


class Trunk(nn.Module):
    """Patchify and blocks: ``(x [b, h, w, ch], c [b, e]) -> [b, h / patch, w / patch, width]``."""

    backbone: "DiT"
    mixer: CrossDraft | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w ch"], c: Float[Array, "b e"]
    ) -> Float[Array, "b rows columns width"]:
        net = self.backbone
        b, height, width, channels = x.shape
        net.check_image(height, width, channels)
        p, rows, columns = net.patch, height // net.patch, width // net.patch
        x = x.reshape(b, rows, p, columns, p, channels).transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(b, rows * columns, p * p * channels)
        h = nn.Dense(
            net.width, dtype=net.dtype, param_dtype=parameter_dtype(net.dtype), name="patches"
        )(x)
        h = h + positions(rows, columns, net.width).reshape(-1, net.width).astype(h.dtype)
        block = traced_once(nn.remat(Block) if net.remat else Block, self, x)
        mixing = traced_once(CrossDraftAttention, self, x)
        settings = (net.heads, net.mlp_ratio, net.dtype, net.attention_backend)
        for i in range(net.depth):
            h = block(*settings, name=f"block_{i}")(h, c)
            if self.mixer is not None and self.mixer.after(True, (net.depth - 1 - i) % 2 == 0):
                h = h + self.mixer.module(mixing, f"mix_{i}")(h, c)
        return h.reshape(b, rows, columns, net.width)


class Head(nn.Module):
    """Modulated norm, zero-initialised product, unpatchify: ``-> [b, h, w, channels]``."""

    backbone: "DiT"

    @nn.compact
    def __call__(
        self, h: Float[Array, "b rows columns width"], c: Float[Array, "b e"]
    ) -> Float[Array, "b h w ch"]:
        net = self.backbone
        options = {
            "dtype": net.dtype,
            "param_dtype": parameter_dtype(net.dtype),
            "kernel_init": nn.initializers.zeros,
        }
        modulation = nn.Dense(2 * net.width, name="modulation", **options)(nn.silu(c))
        h = modulated_norm(h, *jnp.split(modulation, 2, axis=-1))
        p = net.patch
        y = nn.Dense(p * p * net.channels, name="out", **options)(h)
        b, rows, columns, _ = y.shape
        y = y.reshape(b, rows, columns, p, p, net.channels).transpose(0, 1, 3, 2, 4, 5)
        return y.reshape(b, rows * p, columns * p, net.channels)


@dataclasses.dataclass(frozen=True)
class DiT:
    """Description of a DiT; teacher, drafter and refiner are all made from it.

    ``dtype`` is the dtype of computation; parameters are float32 (float64 if ``dtype`` is). With
    ``guidance`` the network is told the guidance weight, ``cond["guidance"]`` (``embed``). With ``remat``
    the gradient keeps each block's input only and computes the block again: less memory, more time.
    ``attention_backend``: see ``attention``.

    Raises:
      UserError: a number isn't positive, ``width`` doesn't fit ``heads`` or the position table, or
        an image doesn't fit (when the trunk is called).
    """

    channels: int
    patch: int = 2
    width: int = 64
    depth: int = 3
    heads: int = 4
    mlp_ratio: int = 4
    num_classes: int = 0
    dtype: str = "float32"
    guidance: bool = False
    caption_width: int = 0
    remat: bool = False
    attention_backend: str = "xla"

    def __post_init__(self) -> None:
        parameter_dtype(self.dtype)
        check_backend(self.attention_backend)
        for name in ("channels", "patch", "width", "depth", "heads", "mlp_ratio"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: must be at least 1")
        if self.width % self.heads:
            raise UserError(f"width={self.width} is not a multiple of heads={self.heads}")
        if self.width % 4:
            raise UserError(f"width={self.width} is not a multiple of 4 (position table)")

    def check_image(self, height: int, width: int, channels: int) -> None:
        if height % self.patch or width % self.patch:
            raise UserError(f"image {height}x{width} cannot be cut into patches of {self.patch}")
        if channels != self.channels:
            raise UserError(f"image has {channels} channels, the network has {self.channels}")

    @property
    def embedding_width(self) -> int:
        return self.width

    @property
    def head_widths(self) -> tuple[int, ...]:
        return (self.width // self.heads,)

    def embed(self) -> Embedding:
        return Embedding(
            self.embedding_width, self.num_classes, self.dtype, self.guidance, self.caption_width
        )

    def trunk(self, mixer: CrossDraft | None = None) -> Trunk:
        return Trunk(self, mixer)

    def head(self) -> Head:
        return Head(self)
