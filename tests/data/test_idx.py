import gzip

import numpy as np
import pytest

from drf_jax.data.idx import read_idx
from drf_jax.errors import UserError

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
FILE = b"\0\0\x08\x03" + np.array([2, 3, 4], ">u4").tobytes() + ARRAY.tobytes()


def test_plain_and_packed_files_give_the_array(tmp_path):
    (tmp_path / "plain").write_bytes(FILE)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(FILE))
    np.testing.assert_array_equal(read_idx(tmp_path / "plain"), ARRAY)
    np.testing.assert_array_equal(read_idx(tmp_path / "packed"), ARRAY)


@pytest.mark.parametrize(
    "data, problem",
    [
        (FILE[:-1], "truncated or too long: 39 bytes.*needs 40"),
        (FILE + b"\0", "truncated or too long: 41 bytes"),
        (FILE[:10], "truncated: 10 bytes, the header alone has 16"),
        (b"\x89PNG" + FILE, "begins with 89504e47"),
        (b"\0\0\x0d" + FILE[3:], "begins with 00000d03"),  # floats
        (b"", "begins with nothing"),
    ],
)
def test_another_file_is_named_with_what_is_wrong(tmp_path, data, problem):
    (tmp_path / "images").write_bytes(data)
    with pytest.raises(UserError, match=f"images: {problem}"):
        read_idx(tmp_path / "images")


@pytest.mark.parametrize("keep", [5, 25])
def test_a_cut_gzip_file_is_named(tmp_path, keep):
    (tmp_path / "images.gz").write_bytes(gzip.compress(FILE)[:keep])
    with pytest.raises(UserError, match=r"images.gz: not a whole gzip file"):
        read_idx(tmp_path / "images")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"images: no such file, nor images\.gz"):
        read_idx(tmp_path / "images")
