"""The teacher's network of a config."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from drf_jax.config import choose, naming, read, split_name
from drf_jax.data.conditioning import null_cond
from drf_jax.data.source import Source
from drf_jax.errors import UserError
from drf_jax.networks.attention import resolve_backend
from drf_jax.networks.dit import DiT
from drf_jax.networks.network import Backbone, DenoisingNetwork
from drf_jax.networks.unet import UNet
from drf_jax.typing import Params, PRNGKey

BACKBONES = {"dit": DiT, "unet": UNet}


def backbone(config: Mapping[str, Any], data: Source) -> Backbone:
    """The network's description; channels, classes and the width of captions are the data's."""
    name, rest = split_name(config["network"], "config.network")
    given = {
        "channels": data.image_shape[-1],
        "num_classes": data.num_classes,
        "caption_width": data.caption_width,
    }
    for key in given:
        if key in rest:
            raise UserError(f"config.network.{key}: set by the data, leave it out")
    if "guidance" in rest:
        raise UserError("config.network.guidance: for students, which get it from their own config")
    cls = choose(BACKBONES, name, "config.network.name")
    backend = rest.pop("attention_backend", "xla")
    made = read(cls, {**rest, **given}, "config.network")
    made.check_image(*data.image_shape)
    with naming("config.network.attention_backend"):
        backend = resolve_backend(backend, made.dtype, made.head_widths, jax.local_devices()[0])
    return dataclasses.replace(made, attention_backend=backend)


def computing_in(made: Backbone, dtype: str) -> Backbone:
    """The same network that computes in ``dtype``, if one is given: with cuDNN's attention where it has it and where
    that can be used in it, else with XLA's."""
    if dtype in ("", made.dtype):
        return made
    wanted = "auto" if made.attention_backend == "cudnn" else made.attention_backend
    backend = resolve_backend(wanted, dtype, made.head_widths, jax.local_devices()[0])
    return dataclasses.replace(made, dtype=dtype, attention_backend=backend)


def init_teacher(network: DenoisingNetwork, data: Source, key: PRNGKey) -> Params:
    x = jnp.zeros((1, *data.image_shape))
    return network.init(key, x, jnp.zeros(1), null_cond(data, 1))["params"]
