"""Convolutional U-Net in the manner of DDPM++ and ADM (Song et al., 2021; Dhariwal & Nichol, 2021).

Level l works at resolution 1 / 2^l with ``multipliers[l] * width`` channels. The way down keeps
every feature map; the way up concatenates them again, last one first. Levels chosen by
``attention``, and the middle, have self-attention. For the blocks see ``resblock``.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.errors import UserError
from drf_jax.networks.attention import check_backend
from drf_jax.networks.cross_draft import CrossDraft, CrossDraftAttention
from drf_jax.networks.embed import Embedding, parameter_dtype
from drf_jax.networks.outconv import OutConv
from drf_jax.networks.resblock import Stage, group_norm, modulate
from drf_jax.networks.traced_once import traced_once


class Trunk(nn.Module):
    """Down, middle, up: ``(x [b, h, w, ch], c [b, e]) -> [b, h, w, width * multipliers[0]]``."""

    backbone: "UNet"
    mixer: CrossDraft | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w ch"], c: Float[Array, "b e"]
    ) -> Float[Array, "b h w n"]:
        net = self.backbone
        net.check_image(*x.shape[1:])
        options = {"dtype": net.dtype, "param_dtype": parameter_dtype(net.dtype)}
        channels = [net.width * m for m in net.multipliers]
        last = len(channels) - 1
        mixers = 0
        block = traced_once(nn.remat(Stage) if net.remat else Stage, self, x)
        mixing = traced_once(CrossDraftAttention, self, x)

        def stage(h, name, level, attention, coarse):
            nonlocal mixers
            settings = (net.heads, attention, net.dtype, net.attention_backend)
            h = block(channels[level], *settings, name=name)(h, c)
            if self.mixer is not None and self.mixer.after(coarse, attention):
                h = h + self.mixer.module(mixing, f"mix_{mixers}")(h, c)
                mixers += 1
            return h

        h = nn.Conv(net.width, (3, 3), name="in", **options)(x)
        kept = [h]
        for level in range(last + 1):
            for i in range(net.blocks):
                h = stage(h, f"down_{level}_{i}", level, net.attention[level], level > 0)
                kept.append(h)
            if level < last:
                h = nn.Conv(channels[level], (3, 3), 2, name=f"down_{level}", **options)(h)
                kept.append(h)
        h = stage(h, "middle_0", last, True, True)
        h = stage(h, "middle_1", last, False, True)
        for level in reversed(range(last + 1)):
            for i in range(net.blocks + 1):
                h = jnp.concatenate([h, kept.pop()], axis=-1)
                h = stage(h, f"up_{level}_{i}", level, net.attention[level], level > 0)
            if level:
                h = h.repeat(2, axis=1).repeat(2, axis=2)
                h = nn.Conv(channels[level], (3, 3), name=f"up_{level}", **options)(h)
        return h


class Head(nn.Module):
    """Adaptive group norm, silu, zero-initialised convolution: ``-> [b, h, w, channels]``."""

    backbone: "UNet"

    @nn.compact
    def __call__(
        self, h: Float[Array, "b h w n"], c: Float[Array, "b e"]
    ) -> Float[Array, "b h w ch"]:
        net = self.backbone
        modulation = nn.Dense(
            2 * h.shape[-1],
            kernel_init=nn.initializers.zeros,
            dtype=net.dtype,
            param_dtype=parameter_dtype(net.dtype),
            name="modulation",
        )(nn.silu(c))
        h = modulate(group_norm(h.shape[-1], net.dtype, "norm", affine=False)(h), modulation)
        return OutConv(net.channels, net.dtype, name="out")(nn.silu(h))


@dataclasses.dataclass(frozen=True)
class UNet:
    """Description of a U-Net; teacher, drafter and refiner are all made from it.

    ``attention`` says for each level whether it has self-attention. ``dtype`` is the dtype of
    computation; parameters are float32 (float64 if ``dtype`` is). With ``guidance`` the network is
    told the guidance weight, ``cond["guidance"]`` (``embed``). With ``remat`` the gradient keeps
    each stage's input only and computes the stage again: less memory, more time.
    ``attention_backend``: see ``attention``.

    Raises:
      UserError: a number isn't positive, ``multipliers``, ``attention`` and ``heads`` don't fit
        together, or an image doesn't fit (when the trunk is called).
    """

    channels: int
    width: int = 64
    multipliers: tuple[int, ...] = (1, 2, 2)
    blocks: int = 2
    attention: tuple[bool, ...] = (False, True, True)
    heads: int = 4
    num_classes: int = 0
    dtype: str = "float32"
    guidance: bool = False
    caption_width: int = 0
    remat: bool = False
    attention_backend: str = "xla"

    def __post_init__(self) -> None:
        parameter_dtype(self.dtype)
        check_backend(self.attention_backend)
        for name in ("channels", "width", "blocks", "heads"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: must be at least 1")
        if not self.multipliers or min(self.multipliers) < 1:
            raise UserError(f"multipliers={self.multipliers}: positive integers, one a level")
        if len(self.attention) != len(self.multipliers):
            raise UserError(
                f"attention has {len(self.attention)} levels, multipliers {len(self.multipliers)}"
            )
        for multiplier in self._attending:
            if self.width * multiplier % self.heads:
                raise UserError(
                    f"width={self.width} times {multiplier} is not a multiple of heads={self.heads}"
                )

    def check_image(self, height: int, width: int, channels: int) -> None:
        factor = 2 ** (len(self.multipliers) - 1)
        if height % factor or width % factor:
            raise UserError(f"image {height}x{width}: both sides must be multiples of {factor}")
        if channels != self.channels:
            raise UserError(f"image has {channels} channels, the network has {self.channels}")

    @property
    def embedding_width(self) -> int:
        return 4 * self.width

    @property
    def _attending(self) -> tuple[int, ...]:
        """Multipliers of the levels with self-attention, which the middle always has."""
        levels = zip(self.multipliers, (*self.attention[:-1], True), strict=True)
        return tuple(m for m, attention in levels if attention)

    @property
    def head_widths(self) -> tuple[int, ...]:
        return tuple(self.width * m // self.heads for m in self._attending)

    def embed(self) -> Embedding:
        return Embedding(
            self.embedding_width, self.num_classes, self.dtype, self.guidance, self.caption_width
        )

    def trunk(self, mixer: CrossDraft | None = None) -> Trunk:
        return Trunk(self, mixer)

    def head(self) -> Head:
        return Head(self)
