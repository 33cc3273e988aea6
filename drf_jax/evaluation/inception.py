"""Features of the FID Inception: 2048 numbers an image, under one of three resize conventions.

The weights come from a file that the user names; nothing is downloaded. The published one is
``pt_inception-2015-12-05-6726825d.pth`` of pytorch-fid. Two extractors measure in the same space if
their convention and the hash of their parameters agree; the hash is of the numbers, so the same
weights in another file format count as the same.

Convolutions run in full float32 by default. ``tf32`` rounds their inputs to 10 bits of mantissa where
the accelerator can (pytorch-fid's default there): faster, and another feature space. On a CPU both are
float32.
"""

import os
import re
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
from drf_jax.evaluation.resize import RESIZES
from drf_jax.evaluation.weights_file import read_weights
from drf_jax.networks.inception import InceptionV3, inception_params
from drf_jax.typing import Params

FEATURES = 2048
PRECISIONS = {"float32": "float32", "tf32": "tensorfloat32"}
"""Name to ``jax.default_matmul_precision``."""


@dataclass(frozen=True, kw_only=True)
class Inception:
    """The FID Inception as a feature extractor.

    Attributes:
      params: of ``InceptionV3``.
      resize: a name in ``RESIZES``.
      weights_sha256: ``params_digest`` of the parameters.
      provenance: ``file`` and ``file_sha256`` of the weights, ``version`` of the library.
      precision: of the convolutions, a name in ``PRECISIONS``.
    """

    params: Params
    resize: str
    weights_sha256: str
    provenance: Mapping[str, Any]
    precision: str = "float32"

    @property
    def feature_space(self) -> str:
        """ "inception-" and the resize convention; then "-tf32" in that precision."""
        suffix = "" if self.precision == "float32" else f"-{self.precision}"
        return f"inception-{self.resize}{suffix}"

    def extract(
        self, images: UInt8[np.ndarray, "n h w c"], batch_size: int = 64
    ) -> Float32[np.ndarray, "n 2048"]:
        """The features ``pool3`` of each image; grey images count as colour images.

        Raises:
          UserError: the images have neither one nor three channels.
        """
        forward = partial(_forward, self.params, resize=self.resize, precision=self.precision)
        return features_in_batches(forward, images, batch_size, FEATURES)


def load_inception(
    path: str | os.PathLike, resize: str = "pytorch-fid", precision: str = "float32"
) -> Inception:
    """The extractor with the weights in a ``.safetensors``, ``.npz``, ``.pth`` or ``.pt`` file.

    A name that ends in a dash and 8 hexadecimal digits announces the beginning of the file's
    SHA-256 (the custom of PyTorch's hub), and is held to it.

    Args:
      path: tensors under the published names in PyTorch's layout.
      resize: "pytorch-fid", "clean-fid" or "tf1".
      precision: "float32" or "tf32".

    Raises:
      UserError: the file is missing, damaged, altered or another network's, or ``resize`` or
        ``precision`` is unknown.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision {precision!r} is unknown; known: {', '.join(PRECISIONS)}")
    if resize not in RESIZES:
        raise UserError(f"resize {resize!r} is unknown; known: {', '.join(RESIZES)}")
    tensors = read_weights(path)
    digest = file_digest(path)
    announced = re.search(r"-([0-9a-f]{8})$", Path(path).stem)
    if announced and not digest.startswith(announced[1]):
        raise UserError(
            f"{os.fspath(path)} has the SHA-256 {digest[:8]}..., its name says {announced[1]}"
        )
    try:
        params = inception_params(tensors)
    except UserError as error:
        raise UserError(f"{os.fspath(path)} holds other weights: {error}") from None
    return Inception(
        params=jax.tree.map(jnp.asarray, params),
        resize=resize,
        weights_sha256=params_digest(params),
        provenance={"file": Path(path).name, "file_sha256": digest, "version": __version__},
        precision=precision,
    )


@partial(jax.jit, static_argnames=("resize", "precision"))
def _forward(params, images, resize, precision):
    image = RESIZES[resize](jnp.broadcast_to(images, (*images.shape[:3], 3)))
    with jax.default_matmul_precision(PRECISIONS[precision]):
        return InceptionV3().apply({"params": params}, image).pool3
