"""The KL autoencoder of latent diffusion, in Stable Diffusion's architecture (Rombach et al. 2022, arXiv 2112.10752).

    encoder   image [b, h, w, 3] in [-1, 1]  ->  moments [b, h / f, w / f, 2 c]:  mean and log-variance of q(z | image)
    decoder   z [b, h / f, w / f, c]         ->  image [b, h, w, 3]

f = 2^(levels − 1). A level has residual blocks without conditioning,

    h <- skip(h) + conv(silu(GN(conv(silu(GN(h))))))                                                                (1)

then a change of resolution by 2; the middle, at the lowest resolution, has single-head self-attention between two
blocks. A convolution of stride 2 pads below and to the right only. The 1x1 convolutions between the networks and the
latent (``quant_conv``, ``post_quant_conv``) belong to encoder and decoder here. Submodules carry the names of the
published weights (`autoencoder_weights` reads those).
"""

import dataclasses

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from drf_jax.errors import UserError
from drf_jax.networks.doubling import DoublingConv
from drf_jax.networks.embed import parameter_dtype


@dataclasses.dataclass(frozen=True)
class Autoencoder:
    """Description of a KL autoencoder; the defaults are Stable Diffusion's (84M parameters).

    ``widths`` are the channels of the levels from the image down, ``blocks`` the residual blocks of a level on the way
    down (one more on the way up), ``groups`` those of every group norm. ``dtype`` is the dtype of computation;
    parameters are float32 (float64 if ``dtype`` is).

    Raises:
      UserError: a number isn't positive, or ``groups`` doesn't divide a width.
    """

    channels: int = 3
    latent_channels: int = 4
    widths: tuple[int, ...] = (128, 256, 512, 512)
    blocks: int = 2
    groups: int = 32
    dtype: str = "float32"

    def __post_init__(self) -> None:
        parameter_dtype(self.dtype)
        for name in ("channels", "latent_channels", "blocks", "groups"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: must be at least 1")
        if not self.widths or any(width < 1 or width % self.groups for width in self.widths):
            raise UserError(
                f"widths={self.widths}: each must be a multiple of groups={self.groups}"
            )

    @property
    def factor(self) -> int:
        """Side of the image over side of the latent."""
        return 2 ** (len(self.widths) - 1)

    def conv(
        self, features: int, name: str, kernel: int = 3, stride: int = 1, padding: object = "SAME"
    ) -> nn.Conv:
        options = {"dtype": self.dtype, "param_dtype": parameter_dtype(self.dtype)}
        return nn.Conv(features, (kernel, kernel), stride, padding=padding, name=name, **options)

    def norm(self, name: str) -> nn.GroupNorm:
        options = {"dtype": self.dtype, "param_dtype": parameter_dtype(self.dtype)}
        return nn.GroupNorm(self.groups, epsilon=1e-6, name=name, **options)


class ResBlock(nn.Module):
    """Equation (1)."""

    net: Autoencoder
    width: int

    @nn.compact
    def __call__(self, h: Float[Array, "b h w n"]) -> Float[Array, "b h w m"]:
        y = self.net.conv(self.width, "conv1")(nn.silu(self.net.norm("norm1")(h)))
        y = self.net.conv(self.width, "conv2")(nn.silu(self.net.norm("norm2")(y)))
        if h.shape[-1] != self.width:
            h = self.net.conv(self.width, "conv_shortcut", 1)(h)
        return h + y


class Attention(nn.Module):
    """Single-head self-attention over all positions, residual."""

    net: Autoencoder

    @nn.compact
    def __call__(self, h: Float[Array, "b h w n"]) -> Float[Array, "b h w n"]:
        b, height, width, channels = h.shape
        store = parameter_dtype(self.net.dtype)
        dense = lambda name: nn.Dense(channels, dtype=self.net.dtype, param_dtype=store, name=name)
        y = self.net.norm("group_norm")(h).reshape(b, height * width, 1, channels)
        q, k, v = (dense(name)(y) for name in ("to_q", "to_k", "to_v"))
        y = dense("to_out_0")(jax.nn.dot_product_attention(q, k, v))
        return h + y.reshape(h.shape)


class Middle(nn.Module):
    net: Autoencoder

    @nn.compact
    def __call__(self, h: Float[Array, "b h w n"]) -> Float[Array, "b h w n"]:
        width = self.net.widths[-1]
        h = ResBlock(self.net, width, name="resnets_0")(h)
        h = Attention(self.net, name="attentions_0")(h)
        return ResBlock(self.net, width, name="resnets_1")(h)


class Resample(nn.Module):
    """Half (``down``) or double the resolution."""

    net: Autoencoder
    width: int
    down: bool

    @nn.compact
    def __call__(self, h: Float[Array, "b h w n"]) -> Float[Array, "b h2 w2 m"]:
        if self.down:
            return self.net.conv(self.width, "conv", 3, 2, ((0, 1), (0, 1)))(h)
        return DoublingConv(self.width, self.net.dtype, name="conv")(h)


class Level(nn.Module):
    """Residual blocks, then a change of resolution if ``resample`` (``downsamplers`` or ``upsamplers``) says so."""

    net: Autoencoder
    width: int
    blocks: int
    resample: str = ""

    @nn.compact
    def __call__(self, h: Float[Array, "b h w n"]) -> Float[Array, "b h2 w2 m"]:
        for i in range(self.blocks):
            h = ResBlock(self.net, self.width, name=f"resnets_{i}")(h)
        if self.resample:
            down = self.resample == "downsamplers"
            h = Resample(self.net, self.width, down, name=f"{self.resample}_0")(h)
        return h


class EncoderTrunk(nn.Module):
    net: Autoencoder

    @nn.compact
    def __call__(self, image: Float[Array, "b h w n"]) -> Float[Array, "b h2 w2 m"]:
        net, last = self.net, len(self.net.widths) - 1
        h = net.conv(net.widths[0], "conv_in")(image)
        for i, width in enumerate(net.widths):
            resample = "downsamplers" if i < last else ""
            h = Level(net, width, net.blocks, resample, name=f"down_blocks_{i}")(h)
        h = Middle(net, name="mid_block")(h)
        return net.conv(2 * net.latent_channels, "conv_out")(nn.silu(net.norm("conv_norm_out")(h)))


class DecoderTrunk(nn.Module):
    net: Autoencoder

    @nn.compact
    def __call__(self, z: Float[Array, "b h w n"]) -> Float[Array, "b h2 w2 m"]:
        net, last = self.net, len(self.net.widths) - 1
        h = Middle(net, name="mid_block")(net.conv(net.widths[-1], "conv_in")(z))
        for i, width in enumerate(reversed(net.widths)):
            resample = "upsamplers" if i < last else ""
            h = Level(net, width, net.blocks + 1, resample, name=f"up_blocks_{i}")(h)
        return net.conv(net.channels, "conv_out")(nn.silu(net.norm("conv_norm_out")(h)))


class Encoder(nn.Module):
    """``image [b, h, w, channels] -> moments [b, h / f, w / f, 2 latent_channels]`` in the image's dtype.

    Raises:
      UserError: the image has other channels, or sides that f does not divide.
    """

    net: Autoencoder

    @nn.compact
    def __call__(self, image: Float[Array, "b h w n"]) -> Float[Array, "b h2 w2 m"]:
        net, (height, width, channels) = self.net, image.shape[1:]
        if channels != net.channels or height % net.factor or width % net.factor:
            raise UserError(
                f"image of {height}x{width}x{channels}: the autoencoder takes {net.channels} channels"
                f" and sides that are multiples of {net.factor}"
            )
        moments = EncoderTrunk(net, name="encoder")(image)
        return net.conv(2 * net.latent_channels, "quant_conv", 1)(moments).astype(image.dtype)


class Decoder(nn.Module):
    """``z [b, h, w, latent_channels] -> image [b, f h, f w, channels]`` in z's dtype.

    Raises:
      UserError: z has other channels.
    """

    net: Autoencoder

    @nn.compact
    def __call__(self, z: Float[Array, "b h w n"]) -> Float[Array, "b h2 w2 m"]:
        net = self.net
        if z.shape[-1] != net.latent_channels:
            raise UserError(
                f"latent of {z.shape[-1]} channels: the autoencoder has {net.latent_channels}"
            )
        h = net.conv(net.latent_channels, "post_quant_conv", 1)(z)
        return DecoderTrunk(net, name="decoder")(h).astype(z.dtype)
