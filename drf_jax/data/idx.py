"""The IDX files of MNIST and its successors: 0, 0, 8 (bytes), the number of axes; sizes; bytes.

Sizes are big-endian 32-bit integers and the last axis varies fastest. (LeCun, Cortes and Burges,
"The MNIST database of handwritten digits", 1998.)
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from drf_jax.errors import UserError


def read_idx(path: Path) -> UInt8[np.ndarray, "..."]:
    """The array in ``path``, or in ``path`` with ``.gz`` behind it.

    Raises:
      UserError: the file is missing, truncated, too long or no IDX file of bytes.
    """
    packed = path.with_name(path.name + ".gz")
    if not path.exists() and not packed.exists():
        raise UserError(f"{path}: no such file, nor {packed.name}")
    if path.exists():
        data = path.read_bytes()
    else:
        path, data = packed, _unpack(packed)
    if data[:3] != b"\0\0\x08" or len(data) < 4:
        raise UserError(
            f"{path}: begins with {data[:4].hex() or 'nothing'}, not 000008: no IDX file"
        )
    axes = data[3]
    start = 4 + 4 * axes
    if len(data) < start:
        raise UserError(f"{path}: truncated: {len(data)} bytes, the header alone has {start}")
    shape = struct.unpack(f">{axes}I", data[4:start])
    if len(data) != start + math.prod(shape):
        raise UserError(
            f"{path}: truncated or too long: {len(data)} bytes, "
            f"shape {shape} needs {start + math.prod(shape)}"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _unpack(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not a whole gzip file ({error})") from error
