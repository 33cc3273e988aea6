import numpy as np
import pytest

from drf_jax.data.fashion_mnist import write_fashion_mnist
from drf_jax.data.picture import open_picture, to_array
from drf_jax.data.records import open_records
from drf_jax.errors import UserError

pytest.importorskip("tensorflow_datasets")


def write_idx(path, array):
    sizes = np.array(array.shape, ">u4").tobytes()
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes())


@pytest.fixture
def idx_dir(tmp_path):
    folder = tmp_path / "idx"
    folder.mkdir()
    for prefix, n in (("train", 6), ("t10k", 3)):
        images = np.random.default_rng(n).integers(1, 256, (n, 28, 28))
        write_idx(folder / f"{prefix}-images-idx3-ubyte", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", np.arange(n))
    return folder


def test_images_keep_their_order_inside_a_black_frame(tmp_path, idx_dir):
    folder, card = write_fashion_mnist(tmp_path / "out", tmp_path, str(idx_dir))
    assert card.splits == {"train": 6, "test": 3} and card.image_shape == (32, 32, 1)
    raw = np.random.default_rng(6).integers(1, 256, (6, 28, 28))
    for i, record in enumerate(open_records(folder, "train")):
        image = to_array(open_picture(record["image"], "x"))
        np.testing.assert_array_equal(image[2:-2, 2:-2, 0], raw[i])
        assert image.sum() == raw[i].sum() and record["label"] == i


@pytest.mark.parametrize(
    "file, array, problem",
    [
        ("train-labels-idx1-ubyte", np.arange(5), r"\(6, 28, 28\) and labels \(5,\)"),
        ("t10k-images-idx3-ubyte", np.zeros((3, 32, 32)), r"t10k images have shape \(3, 32, 32\)"),
        ("t10k-labels-idx1-ubyte", np.array([0, 1, 10]), "t10k labels go up to 10"),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path, idx_dir, file, array, problem):
    write_idx(idx_dir / file, array)
    with pytest.raises(UserError, match=problem):
        write_fashion_mnist(tmp_path / "out", tmp_path, str(idx_dir))


def test_a_missing_file_or_folder_is_named(tmp_path, idx_dir):
    (idx_dir / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(UserError, match="t10k-labels-idx1-ubyte: no such file"):
        write_fashion_mnist(tmp_path / "out", tmp_path, str(idx_dir))
    with pytest.raises(UserError, match=r"nowhere: no such folder.*dataset-fashion-mnist"):
        write_fashion_mnist(tmp_path / "out", tmp_path, str(tmp_path / "nowhere"))
