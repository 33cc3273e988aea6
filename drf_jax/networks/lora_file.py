"""A LoRA as one file of its own: what is shared without the network that it changes.

An npz with an array for each factor (``trunk/block_0/mlp_in/kernel/a``) and the scale that it was trained with; no
pickle.
"""

import os
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from drf_jax.atomic import replacing
from drf_jax.errors import UserError
from drf_jax.typing import Params

SCALE = "scale"


def save_lora(path: str | os.PathLike, lora: Params, scale: float = 1.0) -> None:
    """Write deltas and their scale."""
    arrays = flatten_dict(jax.device_get(lora), sep="/")
    with replacing(path) as file:
        np.savez(file, **{SCALE: np.float32(scale)}, **arrays)


def load_lora(path: str | os.PathLike) -> tuple[Params, float]:
    """Deltas and the scale that they were trained with, for `drf_jax.networks.lora.merge` and ``compose``.

    Raises:
      UserError: the file is missing, damaged, or no LoRA's.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            flat = {name: jnp.asarray(stored[name]) for name in stored.files if name != SCALE}
            scale = float(stored[SCALE])
    except FileNotFoundError:
        raise UserError(f"LoRA file {os.fspath(path)} does not exist") from None
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"{os.fspath(path)} is not a whole LoRA file: {error}") from error
    pairs = {name.rpartition("/")[0] for name in flat}
    if set(flat) != {f"{path}/{part}" for path in pairs for part in "ab"}:
        raise UserError(f"{os.fspath(path)} is not a LoRA file: each kernel needs its a and b")
    return unflatten_dict(flat, sep="/"), scale
