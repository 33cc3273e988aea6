"""Parameters of the KL autoencoder from published weights, in the layout of diffusers' ``AutoencoderKL``.

A tensor's name is its parameter's path with dots: ``encoder.down_blocks.0.resnets.1.conv1.weight``. Kernels are turned,

    convolution   (out, in, height, width) -> (height, width, in, out)
    product       (out, in)                -> (in, out)

Files from before 2023 call the attention's products query, key, value and proj_attn, and some store them as 1x1
convolutions; both are understood.
"""

import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from drf_jax.errors import UserError
from drf_jax.networks.autoencoder import Autoencoder, Decoder, Encoder
from drf_jax.typing import Params

LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
FORMER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def autoencoder_shapes(net: Autoencoder) -> Params:
    """``{"encoder": …, "decoder": …}``: shapes of the parameters of both networks."""
    side = net.factor
    image = jax.ShapeDtypeStruct((1, side, side, net.channels), jnp.float32)
    z = jax.ShapeDtypeStruct((1, 1, 1, net.latent_channels), jnp.float32)
    key = jax.random.key(0)
    return {
        "encoder": jax.eval_shape(Encoder(net).init, key, image)["params"],
        "decoder": jax.eval_shape(Decoder(net).init, key, z)["params"],
    }


def autoencoder_params(net: Autoencoder, tensors: Mapping[str, np.ndarray]) -> Params:
    """``{"encoder": …, "decoder": …}`` from tensors by their published names.

    Raises:
      UserError: a tensor is missing, unknown or of another shape: another architecture's weights.
    """
    left = {present_name(name): tensor for name, tensor in tensors.items()}

    def take(path: tuple[str, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        name = published_name(path)
        if name not in left:
            raise UserError(f"the autoencoder needs the tensor {name!r}, which is missing")
        tensor = left.pop(name)
        axes = {2: (1, 0), 4: (2, 3, 1, 0)}.get(leaf.ndim, (0,))
        if tensor.ndim == 4 and leaf.ndim == 2 and tensor.shape[2:] == (1, 1):
            tensor = tensor[:, :, 0, 0]
        if tensor.ndim != leaf.ndim or tensor.transpose(axes).shape != leaf.shape:
            wanted = tuple(leaf.shape[i] for i in np.argsort(axes))
            raise UserError(
                f"tensor {name!r} has the shape {tensor.shape}; the autoencoder takes {wanted}"
            )
        return np.ascontiguousarray(tensor.transpose(axes), leaf.dtype)

    shapes = flatten_dict(autoencoder_shapes(net))
    params = unflatten_dict({path: take(path[1:], leaf) for path, leaf in shapes.items()})
    if left:
        raise UserError(f"the autoencoder has no tensor {min(left)!r}")
    return params


def published_name(path: tuple[str, ...]) -> str:
    """``("down_blocks_0", "conv1", "kernel") -> "down_blocks.0.conv1.weight"``."""
    *modules, leaf = path
    return ".".join([*(re.sub(r"_(\d+)$", r".\1", name) for name in modules), LEAVES[leaf]])


def present_name(name: str) -> str:
    """Today's name of a tensor."""
    former = "|".join(FORMER)
    return re.sub(rf"(attentions\.0)\.({former})\.", lambda m: f"{m[1]}.{FORMER[m[2]]}.", name)
