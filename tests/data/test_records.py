import sys

import numpy as np
import pytest

from drf_jax.data.picture import open_picture, to_array
from drf_jax.data.records import open_records, tfds, write_records
from drf_jax.errors import UserError

pytest.importorskip("tensorflow_datasets")


def examples(n, channels=3):
    rng = np.random.default_rng(n)
    shape = (n, 5, 4, channels)
    images = rng.integers(0, 256, shape, np.uint8)
    return [{"image": x, "label": i % 3, "caption": f"é {i}"} for i, x in enumerate(images)]


@pytest.mark.parametrize("channels", [1, 3])
def test_examples_come_back_in_their_order(tmp_path, channels):
    stored = examples(9, channels)
    records = write_records(tmp_path, "tiny", "1.2.3", {"train": stored, "test": stored[:2]})
    assert records.folder == tmp_path / "tiny" / "1.2.3"
    assert records.splits == {"train": 9, "test": 2}
    opened = open_records(records.folder, "train")
    assert len(opened) == 9
    for i in (8, 0, 3):
        image = to_array(open_picture(opened[i]["image"], "x"))
        np.testing.assert_array_equal(image, stored[i]["image"])
        assert (opened[i]["label"], opened[i]["caption"].decode()) == (i % 3, f"é {i}")


class NoTensorFlow:
    """An import hook under which TensorFlow is not installed."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "tensorflow":
            raise ModuleNotFoundError(name)


def test_writing_and_reading_need_no_tensorflow(tmp_path, monkeypatch):
    assert "tensorflow" not in sys.modules
    monkeypatch.setattr(sys, "meta_path", [NoTensorFlow, *sys.meta_path])
    records = write_records(tmp_path, "tiny", "1.0.0", {"train": examples(2)})
    assert len(open_records(records.folder, "train")[1]["image"]) > 0


def test_the_digest_tells_data_apart(tmp_path):
    def digest(some, folder):
        return write_records(tmp_path / folder, "tiny", "1.0.0", {"train": some}).sha256["train"]

    first = digest(examples(3), "a")
    assert digest(examples(3), "b") == first
    swapped = examples(3)[::-1]
    relabelled = [{**example, "label": 0} for example in examples(3)]
    assert len({first, digest(swapped, "c"), digest(relabelled, "d")}) == 3


def test_empty_splits_are_not_stored_and_zero_images_are_refused(tmp_path):
    records = write_records(tmp_path, "tiny", "1.0.0", {"train": examples(2), "test": []})
    assert records.splits == {"train": 2}
    with pytest.raises(UserError, match="'none': zero images"):
        write_records(tmp_path, "none", "1.0.0", {"train": [], "test": []})


def test_a_damaged_folder_is_named(tmp_path):
    folder = write_records(tmp_path, "tiny", "1.0.0", {"train": examples(2)}).folder
    (folder / "dataset_info.json").write_text("{")
    with pytest.raises(UserError, match=f"{folder}: cannot be read"):
        open_records(folder, "train")


def test_the_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UserError, match=r"drf_jax\[tfds\]"):
        tfds()
