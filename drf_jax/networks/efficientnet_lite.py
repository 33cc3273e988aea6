"""EfficientNet-Lite0 up to its pooled features, inference only: a network trained on ImageNet that weighs 19 MB.

Tan and Le 2019 (arXiv 1905.11946) in the "lite" form of 2020 for small devices: no squeeze-and-excitation, and
relu6 for swish. A block expands its channels, filters each by itself, and projects:

    y = P(relu6(D(relu6(E(x))))),      plus x where the shapes are the same                               (1)

with E and P of 1×1 (no E where the expansion is 1), D depthwise. Every convolution is followed by a batch norm, which
is folded into it (`drf_jax.networks.folded_norm`).
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from drf_jax.errors import UserError
from drf_jax.networks.folded_norm import folded
from drf_jax.typing import Params

STEM, HEAD, SIDE = 32, 1280, 224
LOGITS = {"_fc.weight": (1000, HEAD), "_fc.bias": (1000,)}


class Block(NamedTuple):
    inputs: int
    outputs: int
    kernel: int
    stride: int
    expansion: int

    @property
    def width(self) -> int:
        """Channels of the depthwise convolution."""
        return self.inputs * self.expansion


def _blocks() -> Iterator[Block]:
    inputs = STEM
    for repeats, kernel, stride, expansion, outputs in (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    ):
        for i in range(repeats):
            yield Block(inputs, outputs, kernel, 1 if i else stride, expansion)
            inputs = outputs


BLOCKS = tuple(_blocks())


class Depthwise(nn.Module):
    """Each channel filtered by itself: a sum of shifted images, which XLA makes one loop of.

    As a grouped convolution it takes a CPU many times as long.
    """

    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        k, s, channels = self.kernel, self.stride, x.shape[-1]
        weights = self.param("kernel", nn.initializers.lecun_normal(), (k, k, 1, channels))
        y = self.param("bias", nn.initializers.zeros, (channels,))
        sides = [-(-n // s) for n in x.shape[1:3]]
        missing = [max(0, (m - 1) * s + k - n) for m, n in zip(sides, x.shape[1:3], strict=True)]
        x = jnp.pad(x, [(0, 0), *((n // 2, n - n // 2) for n in missing), (0, 0)])
        for i, j in np.ndindex(k, k):
            rows, columns = (
                slice(a, a + (m - 1) * s + 1, s) for a, m in zip((i, j), sides, strict=True)
            )
            y = y + weights[i, j, 0] * x[:, rows, columns]
        return y


class EfficientNetLite0(nn.Module):
    """``image [b, 224, 224, 3]``, (u − 127) / 128 of 8-bit u -> features ``[b, 1280]``, their means over the map.

    With ``logits``: ``[b, 1000]`` instead, of ImageNet's classes.
    """

    logits: bool = False

    @nn.compact
    def __call__(self, image: Float[Array, "b 224 224 3"]) -> Float[Array, "b n"]:
        def conv(x, name, features, kernel=1, stride=1):
            window, strides = (kernel, kernel), (stride, stride)
            return nn.Conv(features, window, strides, "SAME", name=name)(x)

        x = jax.nn.relu6(conv(image, "_conv_stem", STEM, 3, 2))
        for i, block in enumerate(BLOCKS):
            y, name = x, f"_blocks.{i}."
            if block.expansion > 1:
                y = jax.nn.relu6(conv(y, f"{name}_expand_conv", block.width))
            y = Depthwise(block.kernel, block.stride, name=f"{name}_depthwise_conv")(y)
            y = conv(jax.nn.relu6(y), f"{name}_project_conv", block.outputs)
            x = x + y if block.stride == 1 and block.inputs == block.outputs else y
        x = jnp.mean(jax.nn.relu6(conv(x, "_conv_head", HEAD)), (1, 2))
        return nn.Dense(LOGITS["_fc.bias"][0], name="_fc")(x) if self.logits else x


def norm_of(conv: str) -> str:
    """The batch norm that follows a convolution, by the names of the published files.

    A block's are counted from its expansion on, whether or not it has one.
    """
    path, _, name = conv.rpartition(".")
    norms = {"_conv_stem": "_bn0", "_conv_head": "_bn1"}
    norms |= {"_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
    return f"{path}.{norms[name]}" if path else norms[name]


def efficientnet_lite0_params(tensors: Mapping[str, np.ndarray], logits: bool = False) -> Params:
    """Parameters of `EfficientNetLite0` from tensors under their published names, in PyTorch's layout.

    Raises:
      UserError: a tensor is missing, has another shape, or is not the network's.
    """
    left = {name: x for name, x in tensors.items() if not name.endswith("num_batches_tracked")}

    def take(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name not in left:
            raise UserError(f"the tensor {name!r} is missing")
        if left[name].shape != shape:
            raise UserError(f"{name!r} has the shape {left[name].shape}, not {shape}")
        return left.pop(name).astype(np.float64)

    image = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), jnp.float32)
    tree = jax.eval_shape(EfficientNetLite0().init, jax.random.key(0), image)["params"]
    params = {
        name: folded(take, name, norm_of(name), leaves["kernel"].shape)
        for name, leaves in tree.items()
    }
    fc = {
        key: take(name, shape)
        for key, (name, shape) in zip(("kernel", "bias"), LOGITS.items(), strict=True)
    }
    if left:
        raise UserError(f"EfficientNet-Lite0 has no tensor {min(left)!r}")
    if logits:
        params["_fc"] = fc | {"kernel": fc["kernel"].T}
    return jax.tree.map(lambda x: x.astype(np.float32), params)
