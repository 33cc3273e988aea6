import io
import pickle
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation.torch_weights import MAGIC, PROTOCOL, read_torch

GOLDEN = Path(__file__).parents[1] / "golden"
FORMATS = ("zip", "legacy")


def expected():
    """What PyTorch 2.13 wrote into both files: a module's state dict and some odd tensors."""
    base = np.arange(24.0).reshape(4, 6)
    return {
        "conv.weight": np.arange(12, dtype=np.float32).reshape(3, 2, 1, 2) / 8,
        "bn.weight": np.ones(3, np.float32),
        "bn.bias": np.zeros(3, np.float32),
        "bn.running_mean": np.array([-1, 0.5, 2], np.float32),
        "bn.running_var": np.ones(3, np.float32),
        "bn.num_batches_tracked": np.array(7),
        "view": base[1:, ::2].T,
        "shared": base[0],
        "half": np.array([[0.5, -2]], np.float16),
        "bfloat16": np.array([1.5, -3], jnp.bfloat16),
        "bool": np.array([True, False]),
        "empty": np.zeros((0, 3), np.float32),
        "parameter": np.array([1, 2], np.float32),
    }


def golden(kind):
    return GOLDEN / f"torch_{kind}.pth"


@pytest.mark.parametrize("kind", FORMATS)
def test_pytorchs_own_files_are_read(kind):
    tensors = read_torch(golden(kind))
    assert list(tensors) == list(expected())
    for name, tensor in expected().items():
        assert tensors[name].dtype == tensor.dtype and tensors[name].flags["C_CONTIGUOUS"]
        np.testing.assert_array_equal(tensors[name], tensor, strict=True)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_off_anywhere_is_refused(kind, tmp_path):
    whole = golden(kind).read_bytes()
    path = tmp_path / "cut.pth"
    for length in [*range(0, len(whole) - 1, 37), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut\.pth"):
            read_torch(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_damage_never_ends_in_another_error(kind, tmp_path):
    whole = golden(kind).read_bytes()
    path, rng = tmp_path / "damaged.pth", np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[rng.integers(0, len(whole), 5)] = rng.integers(0, 256, 5)
        path.write_bytes(damaged.tobytes())
        try:
            read_torch(path)
        except UserError as error:
            refused += 1
            assert "damaged.pth" in str(error)
    assert refused > 150


class Touch:
    """Unpickled in earnest, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def write(kind, path, pickled):
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
    else:
        head = [pickle.dumps(x, 2) for x in (MAGIC, PROTOCOL, {"little_endian": True})]
        path.write_bytes(b"".join([*head, pickled, pickle.dumps([], 2)]))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_forbidden_name_is_refused_and_not_run(kind, protocol, tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "evil.pth"
    pickled = pickle.dumps({"a": Touch(victim)}, protocol)
    pickle.loads(pickled)["a"].close()
    victim.unlink()  # the attack works, elsewhere
    write(kind, path, pickled)
    with pytest.raises(UserError, match=r"evil\.pth cannot be read: it names i?_?_?io\.open"):
        read_torch(path)
    assert not victim.exists()


def test_a_forbidden_name_in_the_legacy_head_is_not_run_either(tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(Touch(victim), 2))
    with pytest.raises(UserError, match=r"it names .*\.open"):
        read_torch(path)
    assert not victim.exists()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "holds one list, not tensors by name"),
        ({"epoch": 3}, "entry 'epoch' is a int, not a tensor"),
        ({"state_dict": {}}, "entry 'state_dict' is a dict, not a tensor"),
    ],
)
def test_what_is_no_state_dict_is_refused(kind, value, message, tmp_path):
    write(kind, tmp_path / "w.pth", pickle.dumps(value, 2))
    with pytest.raises(UserError, match=message):
        read_torch(tmp_path / "w.pth")


def tensor_pickle(offset, shape, strides, size):
    """The pickle of {"w": tensor} as PyTorch writes it, by hand: any layout can be claimed."""
    dump = lambda value: pickle.dumps(value, 0)[:-1]
    numbers = lambda values: b"(" + b"".join(dump(v) for v in values) + b"t"
    storage = b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\n" + dump(size) + b"tQ"
    arguments = storage + dump(offset) + numbers(shape) + numbers(strides)
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"I00\nNtR"
    return b"\x80\x02(dVw\n" + tensor + b"s."


def write_tensor(path, layout, count):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", tensor_pickle(*layout))
        archive.writestr("a/data/0", np.arange(count, dtype=np.float32).tobytes())


def test_tensors_outside_their_storage_are_refused(tmp_path):
    path = tmp_path / "w.pth"
    write_tensor(path, (1, [2, 2], [2, 1], 6), 6)
    np.testing.assert_array_equal(read_torch(path)["w"], [[1, 2], [3, 4]])
    for layout in (
        (3, [2, 2], [2, 1], 6),  # past the end
        (-1, [2, 2], [2, 1], 6),  # before the beginning
        (5, [2, 2], [-2, -1], 6),
        (0, [2, 2], [1], 6),
        (0, [2, 6], [0, 1], 6),  # more numbers than there are
    ):
        write_tensor(path, layout, 6)
        with pytest.raises(UserError, match=r"w\.pth"):
            read_torch(path)
    write_tensor(path, (0, [2], [1], 6), 5)
    with pytest.raises(UserError, match="storage of its tensor 'w' is cut off"):
        read_torch(path)


def test_one_storage_has_one_type_and_size(tmp_path):
    one, other = (tensor_pickle(0, [2], [1], size)[4:-2] for size in (6, 5))
    pickled = b"\x80\x02(d" + one + b"s" + other.replace(b"Vw", b"Vv") + b"s."
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("a/data/0", np.zeros(6, np.float32).tobytes())
    with pytest.raises(UserError, match="announces the storage '0' in two ways"):
        read_torch(tmp_path / "w.pth")


def test_other_files_are_named_for_what_they_are(tmp_path):
    path = tmp_path / "w.pth"
    with pytest.raises(UserError, match=r"weights file .*w\.pth does not exist"):
        read_torch(path)
    path.write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(UserError, match="begins with b'<!DOCTYPE ht'"):
        read_torch(path)
    path.write_bytes(pickle.dumps([1], 2))
    with pytest.raises(UserError, match="a pickle, but not PyTorch's"):
        read_torch(path)
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(2))
    path.write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="a zip file, but not PyTorch's"):
        read_torch(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, 2))
        archive.writestr("a/byteorder", "big")
    with pytest.raises(UserError, match="big-endian"):
        read_torch(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, 2))
    with pytest.raises(UserError, match="compressed"):
        read_torch(path)
