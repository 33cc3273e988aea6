"""Reads a PyTorch state dict (.pth, .pt) without PyTorch and without running what is in the file.

Such a file is a pickle, and a pickle may call any function that it names. Here it may name only an
ordered dict, the storage types and the two functions that say "a tensor is this part of that
storage"; every other name ends the reading. The functions themselves are replaced by plain
records, so that unpickling makes no array: the arrays are cut out afterwards, with their bounds
checked. Both formats hold the same pickle:

- zip (PyTorch 1.6 and later): ``<name>/data.pkl``, and one ``<name>/data/<key>`` for each storage;
- legacy: five pickles in a row (magic number, protocol, facts about the machine, the state dict,
  the keys of the storages), then each storage as a 64-bit count and its numbers.
"""

import io
import math
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from drf_jax.errors import UserError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


class _Storage(NamedTuple):
    key: str
    dtype: str
    size: int

    @property
    def itemsize(self) -> int:
        return jnp.dtype(self.dtype).itemsize


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a state dict by name, in the file's order.

    Raises:
      UserError: the file is missing, cut off, of another kind, holds anything but tensors by name,
        or its pickle names something that a state dict does not need.
    """
    with _explained(path):
        data = Path(path).read_bytes()
        if data.startswith(b"PK"):
            return _read_zip(data)
        if data.startswith(b"\x80"):
            return _read_legacy(data)
        raise UserError(f"it begins with {data[:12]!r}, as neither of PyTorch's formats does")


def _read_zip(data: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise UserError("it is a zip file, but not PyTorch's")
        root = pickles[0].removesuffix("data.pkl")
        records = [r for r in archive.infolist() if r.filename.startswith(f"{root}data")]
        if any(r.compress_type != zipfile.ZIP_STORED for r in records):
            raise UserError("its tensors are compressed, which PyTorch does not do")
        if f"{root}byteorder" in archive.namelist():
            _little_endian(archive.read(f"{root}byteorder") == b"little")
        state = _Unpickler(io.BytesIO(archive.read(pickles[0]))).load()
        return _arrays(state, lambda storage: archive.read(f"{root}data/{storage.key}"))


def _read_legacy(data: bytes) -> dict[str, np.ndarray]:
    file = io.BytesIO(data)
    if _Unpickler(file).load() != MAGIC or _Unpickler(file).load() != PROTOCOL:
        raise UserError("it is a pickle, but not PyTorch's")
    facts = _Unpickler(file).load()
    _little_endian(isinstance(facts, dict) and facts.get("little_endian") is True)
    unpickler = _Unpickler(file)
    state = unpickler.load()
    contents = {}
    for key in _Unpickler(file).load():
        size = int.from_bytes(file.read(8), "little")
        contents[key] = file.read(size * unpickler.storages[key].itemsize)
    return _arrays(state, lambda storage: contents[storage.key])


class _Unpickler(pickle._Unpickler):
    """Admits the few names below, as fresh records that a hostile pickle cannot reach behind.

    This is the unpickler written in Python: the one in C allocates what a damaged file asks for.
    """

    def __init__(self, file: Any):
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *args: _Tensor(*args[:4])
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda *args: args[0]
        raise UserError(f"it names {module}.{name}, which no state dict needs; nothing was run")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, size, *view = pid
        if kind != "storage" or dtype not in DTYPES.values() or any(v is not None for v in view):
            raise UserError("it refers to something that is not a whole storage")
        storage = _Storage(key, dtype, size)
        if self.storages.setdefault(key, storage) != storage:
            raise UserError(f"it announces the storage {key!r} in two ways")
        return storage


def _arrays(state: Any, read: Callable[[_Storage], bytes]) -> dict[str, np.ndarray]:
    if not isinstance(state, Mapping):
        raise UserError(f"it holds one {type(state).__name__}, not tensors by name")
    arrays, flat = {}, {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise UserError(f"its entry {name!r} is a {type(tensor).__name__}, not a tensor")
        storage = tensor.storage
        if storage.key not in flat:
            content = read(storage)
            if len(content) != storage.size * storage.itemsize:
                raise UserError(f"the storage of its tensor {name!r} is cut off")
            flat[storage.key] = np.frombuffer(content, jnp.dtype(storage.dtype))
        arrays[name] = _cut(flat[storage.key], tensor, name)
    return arrays


def _cut(numbers: np.ndarray, tensor: _Tensor, name: str) -> np.ndarray:
    """A contiguous copy of the tensor's part of the storage."""
    _, offset, shape, strides = tensor
    if any(type(n) is not int or n < 0 for n in (offset, *shape, *strides)):
        raise UserError(f"its tensor {name!r} has a shape that is none")
    size = math.prod(shape)
    if size == 0:
        return np.zeros(shape, numbers.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if max(size, last + 1) > len(numbers):
        raise UserError(f"its tensor {name!r} does not fit into its storage")
    steps = [step * numbers.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps).copy()


def _little_endian(little: bool) -> None:
    if not little:
        raise UserError("its numbers are big-endian; only little-endian files are read")


@contextmanager
def _explained(path: str | os.PathLike) -> Iterator[None]:
    """Every failure as one line that names the file."""
    path = os.fspath(path)
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"weights file {path} does not exist") from None
    except UserError as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    # A damaged pickle may fail in any way.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} is not a whole PyTorch file ({reason})") from error
