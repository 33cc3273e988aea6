import json

import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation.weights_file import read_weights

TENSORS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a.bias": np.array([0.5, -1], np.float16),
    "b": np.array([1.5, 3], jnp.bfloat16),
    "count": np.array(7, np.int64),
}
CODES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64"}


def safetensors(header=None):
    """The format as its specification has it."""
    data = b"".join(t.tobytes() for t in TENSORS.values())
    offsets = np.cumsum([0, *(t.nbytes for t in TENSORS.values())]).tolist()
    entries = {
        name: {
            "dtype": CODES[str(t.dtype)],
            "shape": list(t.shape),
            "data_offsets": offsets[i:][:2],
        }
        for i, (name, t) in enumerate(TENSORS.items())
    }
    text = json.dumps(header or {"__metadata__": {"format": "pt"}, **entries}).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_safetensors_and_npz_give_the_same_tensors(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(safetensors())
    plain = {name: t for name, t in TENSORS.items() if t.dtype != jnp.bfloat16}
    np.savez(tmp_path / "w.npz", **plain)
    for name, known in (("w.safetensors", TENSORS), ("w.npz", plain)):
        tensors = read_weights(tmp_path / name)
        assert tensors.keys() == known.keys()
        for key in known:
            np.testing.assert_array_equal(tensors[key], known[key], strict=True)


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz"])
def test_damaged_files_are_named(name, tmp_path):
    path = tmp_path / name
    with pytest.raises(UserError, match=rf"weights file .*{name} does not exist"):
        read_weights(path)
    np.savez(tmp_path / "w.npz", **{k: t for k, t in TENSORS.items() if k != "b"})
    whole = safetensors() if name == "w.safetensors" else path.read_bytes()
    for damaged in (b"", b"text", whole[:-1], whole[: len(whole) // 2], b"[" + whole):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=rf"{name} is not a whole"):
            read_weights(path)


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F7", "shape": [2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 1 << 40]}},
        {"a": 3},
        [1],
    ],
)
def test_safetensors_headers_that_do_not_fit_are_refused(header, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(safetensors(header))
    with pytest.raises(UserError, match=r"w\.safetensors is not a whole"):
        read_weights(tmp_path / "w.safetensors")


def test_pickled_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.array([{}], object))
    with pytest.raises(UserError, match=r"w\.npz is not a whole npz"):
        read_weights(tmp_path / "w.npz")


def test_unknown_endings_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"w\.bin must end in \.npz, \.safetensors, \.pth, \.pt"):
        read_weights(tmp_path / "w.bin")
