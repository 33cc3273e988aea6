"""Tensors by name from a weights file: .safetensors, .npz, or PyTorch's .pth and .pt.

None of the readers runs anything that is in the file.
"""

import json
import os
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from drf_jax.errors import UserError
from drf_jax.evaluation.torch_weights import read_torch

SAFETENSORS_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def read_weights(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a weights file by name; the ending of its name says the format.

    Raises:
      UserError: the file is missing, damaged or of another kind.
    """
    readers = {
        ".npz": read_npz,
        ".safetensors": read_safetensors,
        ".pth": read_torch,
        ".pt": read_torch,
    }
    suffix = Path(path).suffix
    if suffix not in readers:
        raise UserError(f"weights file {os.fspath(path)} must end in {', '.join(readers)}")
    return readers[suffix](path)


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of an npz file; raises as ``read_weights`` does."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored.items())
    except FileNotFoundError:
        raise UserError(f"weights file {os.fspath(path)} does not exist") from None
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{os.fspath(path)} is not a whole npz file: {error}") from error


def read_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file; raises as ``read_weights`` does.

    The format: the header's length in 8 bytes, a JSON header ``name -> {dtype, shape,
    data_offsets}``, then the numbers; all little-endian.
    """
    try:
        data = Path(path).read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        header.pop("__metadata__", None)
        tensors = {}
        for name, entry in header.items():
            low, high = entry["data_offsets"]
            dtype = jnp.dtype(SAFETENSORS_DTYPES[entry["dtype"]])
            numbers = np.frombuffer(data[start + low : start + high], dtype)
            tensors[name] = numbers.reshape(entry["shape"])
    except FileNotFoundError:
        raise UserError(f"weights file {os.fspath(path)} does not exist") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{os.fspath(path)} is not a whole safetensors file: {error or 'empty'}"
        ) from error
    return tensors
