"""The FID Inception with random weights: a feature space that needs no file.

Each tensor is drawn from its own name, so everyone has the same network:

    kernel ~ N(0, 2 / fan_in),   bias ~ N(0, 0.01)       from Philox with key crc32(path)

Distances between random features tell sets of images apart, but their numbers are no FID and go under another name:
"random-inception". It serves to try out an evaluation before the published weights are at hand.
"""

import math
import os
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from drf_jax import __version__
from drf_jax.errors import UserError
from drf_jax.evaluation.digest import params_digest
from drf_jax.evaluation.inception import Inception
from drf_jax.networks.inception import InceptionV3

FEATURE_SPACE = "random-inception"


class RandomInception(Inception):
    """An ``Inception`` whose feature space doesn't claim the published weights."""

    @property
    def feature_space(self) -> str:
        return FEATURE_SPACE


def random_inception(path: str | os.PathLike = "") -> RandomInception:
    """The extractor, with pytorch-fid's resize.

    Args:
      path: must be empty, as there is no file.

    Raises:
      UserError: a file is given.
    """
    if os.fspath(path):
        raise UserError(f"feature space {FEATURE_SPACE!r} takes no weights file, not {path}")
    image = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
    tree = jax.eval_shape(InceptionV3().init, jax.random.key(0), image)["params"]
    params = jax.tree_util.tree_map_with_path(_draw, tree)
    return RandomInception(
        params=jax.tree.map(jnp.asarray, params),
        resize="pytorch-fid",
        weights_sha256=params_digest(params),
        provenance={"weights": "random, drawn from the tensors' names", "version": __version__},
    )


def _draw(path, leaf):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    generator = np.random.Generator(np.random.Philox(key=zlib.crc32(name.encode())))
    z = generator.standard_normal(leaf.shape, np.float32)
    scale = 0.1 if len(leaf.shape) == 1 else math.sqrt(2 / math.prod(leaf.shape[:-1]))
    return z * np.float32(scale)
