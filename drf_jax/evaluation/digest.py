"""What identifies a network's weights: a hash of the numbers, whatever file they came in."""

import hashlib
import os
from pathlib import Path

import jax
import numpy as np

from drf_jax.typing import Params


def params_digest(params: Params) -> str:
    """SHA-256 over each parameter's path, type, shape and bytes, in the order of the paths."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def file_digest(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
