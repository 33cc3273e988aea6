"""The InceptionV3 of the Fréchet Inception Distance: TensorFlow's 2015-12-05 graph, inference only.

Szegedy et al. 2015 (arXiv 1512.00567), as the FID code of Heusel et al. 2017 runs it. It differs
from the later Inception networks in three places: the average pools of Mixed_5b .. Mixed_7b leave
the zero padding out of their mean, Mixed_7c pools by the maximum, and there are 1008 classes.

Every convolution is followed by batch norm with fixed statistics and a relu. The norm is folded
into the convolution when the weights are read, in float64:

    relu( gamma (W * x - mu) / (v + 1e-3)^{1/2} + beta ) = relu( s W * x + beta - s mu ),
    s = gamma / (v + 1e-3)^{1/2}                                                            (1)

The convolutions run in the precision that the caller sets (``jax.default_matmul_precision``).
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from drf_jax.errors import UserError
from drf_jax.networks.folded_norm import folded
from drf_jax.typing import Params

LOGITS = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
"""Not computed; where a file has them, their shapes tell this network from other InceptionV3s."""


class InceptionFeatures(NamedTuple):
    """Means over all positions of four layers; FID is taken on ``pool3``."""

    max_pool1: Float[Array, "b 64"]
    max_pool2: Float[Array, "b 192"]
    mixed_6e: Float[Array, "b 768"]
    pool3: Float[Array, "b 2048"]


def _conv(
    x: Float[Array, "b h w n"],
    name: str,
    features: int,
    kernel: tuple[int, int] = (1, 1),
    stride: int = 1,
    padding: str = "SAME",
) -> Float[Array, "b h2 w2 features"]:
    return nn.relu(nn.Conv(features, kernel, (stride, stride), padding, name=name)(x))


def _average(x: Float[Array, "b h w n"]) -> Float[Array, "b h w n"]:
    return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)


def _maximum(x: Float[Array, "b h w n"]) -> Float[Array, "b h w n"]:
    return nn.max_pool(x, (3, 3), (1, 1), "SAME")


def _halve(x: Float[Array, "b h w n"]) -> Float[Array, "b h2 w2 n"]:
    return nn.max_pool(x, (3, 3), (2, 2), "VALID")


class MixedA(nn.Module):
    """Mixed_5b .. 5d: 1x1, 5x5, double 3x3 and pooled branches."""

    pool_features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w n"]) -> Float[Array, "b h w m"]:
        five = _conv(x, "branch5x5_1", 48)
        five = _conv(five, "branch5x5_2", 64, (5, 5))
        double = _conv(x, "branch3x3dbl_1", 64)
        double = _conv(double, "branch3x3dbl_2", 96, (3, 3))
        double = _conv(double, "branch3x3dbl_3", 96, (3, 3))
        pool = _conv(_average(x), "branch_pool", self.pool_features)
        return jnp.concatenate([_conv(x, "branch1x1", 64), five, double, pool], -1)


class MixedB(nn.Module):
    """Mixed_6a: half the resolution."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w n"]) -> Float[Array, "b h2 w2 m"]:
        three = _conv(x, "branch3x3", 384, (3, 3), 2, "VALID")
        double = _conv(x, "branch3x3dbl_1", 64)
        double = _conv(double, "branch3x3dbl_2", 96, (3, 3))
        double = _conv(double, "branch3x3dbl_3", 96, (3, 3), 2, "VALID")
        return jnp.concatenate([three, double, _halve(x)], -1)


class MixedC(nn.Module):
    """Mixed_6b .. 6e: 7x7 convolutions as products of 1x7 and 7x1."""

    width: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w n"]) -> Float[Array, "b h w 768"]:
        seven = _conv(x, "branch7x7_1", self.width)
        seven = _conv(seven, "branch7x7_2", self.width, (1, 7))
        seven = _conv(seven, "branch7x7_3", 192, (7, 1))
        double = _conv(x, "branch7x7dbl_1", self.width)
        double = _conv(double, "branch7x7dbl_2", self.width, (7, 1))
        double = _conv(double, "branch7x7dbl_3", self.width, (1, 7))
        double = _conv(double, "branch7x7dbl_4", self.width, (7, 1))
        double = _conv(double, "branch7x7dbl_5", 192, (1, 7))
        pool = _conv(_average(x), "branch_pool", 192)
        return jnp.concatenate([_conv(x, "branch1x1", 192), seven, double, pool], -1)


class MixedD(nn.Module):
    """Mixed_7a: half the resolution."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w n"]) -> Float[Array, "b h2 w2 1280"]:
        three = _conv(x, "branch3x3_1", 192)
        three = _conv(three, "branch3x3_2", 320, (3, 3), 2, "VALID")
        seven = _conv(x, "branch7x7x3_1", 192)
        seven = _conv(seven, "branch7x7x3_2", 192, (1, 7))
        seven = _conv(seven, "branch7x7x3_3", 192, (7, 1))
        seven = _conv(seven, "branch7x7x3_4", 192, (3, 3), 2, "VALID")
        return jnp.concatenate([three, seven, _halve(x)], -1)


class MixedE(nn.Module):
    """Mixed_7b (average pool) and Mixed_7c (maximum pool): the branches fan out at the end."""

    pool: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x: Float[Array, "b h w n"]) -> Float[Array, "b h w 2048"]:
        three = _conv(x, "branch3x3_1", 384)
        double = _conv(x, "branch3x3dbl_1", 448)
        double = _conv(double, "branch3x3dbl_2", 384, (3, 3))
        branches = [
            _conv(x, "branch1x1", 320),
            _conv(three, "branch3x3_2a", 384, (1, 3)),
            _conv(three, "branch3x3_2b", 384, (3, 1)),
            _conv(double, "branch3x3dbl_3a", 384, (1, 3)),
            _conv(double, "branch3x3dbl_3b", 384, (3, 1)),
            _conv(self.pool(x), "branch_pool", 192),
        ]
        return jnp.concatenate(branches, -1)


class InceptionV3(nn.Module):
    """Images in [-1, 1], usually 299x299, to ``InceptionFeatures``."""

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"]) -> InceptionFeatures:
        x = _conv(image, "Conv2d_1a_3x3", 32, (3, 3), 2, "VALID")
        x = _conv(x, "Conv2d_2a_3x3", 32, (3, 3), 1, "VALID")
        x = _conv(x, "Conv2d_2b_3x3", 64, (3, 3))
        max_pool1 = x = _halve(x)
        x = _conv(x, "Conv2d_3b_1x1", 80)
        x = _conv(x, "Conv2d_4a_3x3", 192, (3, 3), 1, "VALID")
        max_pool2 = x = _halve(x)
        x = MixedA(32, name="Mixed_5b")(x)
        x = MixedA(64, name="Mixed_5c")(x)
        x = MixedA(64, name="Mixed_5d")(x)
        x = MixedB(name="Mixed_6a")(x)
        x = MixedC(128, name="Mixed_6b")(x)
        x = MixedC(160, name="Mixed_6c")(x)
        x = MixedC(160, name="Mixed_6d")(x)
        mixed_6e = x = MixedC(192, name="Mixed_6e")(x)
        x = MixedD(name="Mixed_7a")(x)
        x = MixedE(_average, name="Mixed_7b")(x)
        x = MixedE(_maximum, name="Mixed_7c")(x)
        layers = (max_pool1, max_pool2, mixed_6e, x)
        return InceptionFeatures(*(layer.mean((1, 2)) for layer in layers))


def inception_params(tensors: Mapping[str, np.ndarray]) -> Params:
    """Parameters of ``InceptionV3`` from the published tensors, equation (1).

    Args:
      tensors: by their PyTorch names ("Mixed_5b.branch1x1.conv.weight", "....bn.running_var") and
        in PyTorch's layout (out, in, height, width); "num_batches_tracked" is passed over.

    Raises:
      UserError: a tensor is missing, unknown or of another shape: another network's weights.
    """
    image = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
    tree = jax.eval_shape(InceptionV3().init, jax.random.key(0), image)["params"]
    left = {k: v for k, v in tensors.items() if not k.endswith(".num_batches_tracked")}

    def take(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name not in left:
            raise UserError(f"the FID Inception needs the tensor {name!r}, which is missing")
        tensor = left.pop(name)
        if tensor.shape != shape:
            raise UserError(
                f"tensor {name!r} has the shape {tensor.shape}; the FID Inception takes {shape}"
            )
        return tensor.astype(np.float64)

    def convert(tree: Mapping, path: str) -> Params:
        if "kernel" not in tree:
            return {name: convert(tree[name], f"{path}{name}.") for name in tree}
        return folded(take, f"{path}conv", f"{path}bn", tree["kernel"].shape)

    params = convert(tree, "")
    for name in LOGITS.keys() & left.keys():
        take(name, LOGITS[name])
    if left:
        raise UserError(f"the FID Inception has no tensor {min(left)!r}")
    return params
