import gc
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from drf_jax.data.decoded import decode_all
from drf_jax.data.pipeline import batches
from drf_jax.data.prepare import prepare
from drf_jax.data.prepared import Prepared
from drf_jax.data.source import Source, load_source
from drf_jax.errors import UserError

pytest.importorskip("tensorflow_datasets")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """12 random 8x8 images in three classes, with captions."""
    root = tmp_path_factory.mktemp("pictures")
    for i, image in enumerate(np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)):
        path = root / "abc"[i % 3] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
        path.with_suffix(".txt").write_text(f"number {i}")
    data = tmp_path_factory.mktemp("data")
    prepare("image_folder", data, title="toys", images=str(root), size=8, test_fraction=0.3)
    return data


def toys(data_dir, **options):
    return load_source("image_folder", data_dir=data_dir, title="toys", **options)


def test_a_prepared_set_is_a_source(data_dir):
    train, test = toys(data_dir), toys(data_dir, split="test")
    assert isinstance(train, Source) and len(train) + len(test) == 12
    assert (train.name, train.image_shape, train.num_classes) == ("toys8", (8, 8, 3), 3)
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
    seen = []
    for source in (train, test):
        for i in range(len(source)):
            example = source[i]
            number = int(example["caption"].split()[1])
            seen.append(number)
            np.testing.assert_array_equal(example["image"], images[number])
            assert example["label"] == number % 3 and example["label"].dtype == np.int32
    assert sorted(seen) == list(range(12))


def test_memory_changes_nothing(data_dir):
    kept, read = toys(data_dir), toys(data_dir, memory_gib=0.0)
    kept[0]["image"][...] = 9  # an example belongs to who asked for it
    for _ in range(2):
        for i in (0, 3, -1):
            np.testing.assert_array_equal(kept[i]["image"], read[i]["image"])
            assert kept[i]["caption"] == read[i]["caption"]
    for step in range(5):
        a, b = batches(kept, 4, 0)(step), batches(read, 4, 0)(step)
        np.testing.assert_array_equal(a["image"], b["image"])
        np.testing.assert_array_equal(a["label"], b["label"])


@pytest.fixture
def own(data_dir, tmp_path):
    """The same data, decoded by no other test."""
    shutil.copytree(data_dir, tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def reads(own, monkeypatch):
    """The rows of ``own`` that were read from files, one after the other."""
    rows, read = [], Prepared._read

    def noted(self, asked):
        if own in self._folder.parents:  # other tests' threads may still read
            rows.extend(asked)
        return read(self, asked)

    monkeypatch.setattr(Prepared, "_read", noted)
    return rows


def test_images_are_decoded_once(own, reads):
    source = toys(own)
    for _ in range(3):
        source[2], source[np.int64(2)], source.gather(np.array([2, 2]))
    assert reads == [2]


def test_what_one_source_has_decoded_the_next_one_finds(own, reads):
    first = toys(own)
    decode_all(toys(own, limit=5))
    assert sorted(reads) == list(range(5))
    decode_all(first)
    assert sorted(reads) == list(range(len(first)))
    twin, other = toys(own), toys(own, size=4)
    np.testing.assert_array_equal(twin[1]["image"], toys(own, memory_gib=0.0)[1]["image"])
    assert len(reads) == len(first) + 1
    assert other[1]["image"].shape == (4, 4, 3)
    del first, twin
    gc.collect()
    toys(own)[0]
    assert reads[-1] == 0  # nobody held it any more


def test_what_does_not_fit_is_not_decoded_ahead(own, reads):
    decode_all(toys(own, memory_gib=0.0))
    decode_all(load_source("digits"))
    assert reads == []


def test_an_unreadable_image_is_named(own, monkeypatch):
    source = toys(own)

    class Broken:
        def __len__(self):
            return len(records)

        def __getitems__(self, rows):
            raise ValueError("lost")

        def __getitem__(self, i):
            if i == 3:
                raise ValueError("lost")
            return records[i]

    records = source._records
    monkeypatch.setattr(source, "_records", Broken())
    with pytest.raises(UserError, match=r"image 3 cannot be read \(lost\)"):
        source.gather(np.array([1, 3]))
    np.testing.assert_array_equal(source[1]["image"], toys(own, memory_gib=0.0)[1]["image"])


def test_many_at_once_are_the_same_examples(own):
    kept, read = toys(own), toys(own, memory_gib=0.0)
    indices = np.array([4, 0, 4, -1])
    for source in (kept, kept, read):
        made = source.gather(indices)
        np.testing.assert_array_equal(made["image"], [read[i]["image"] for i in indices])
        np.testing.assert_array_equal(made["label"], [read[i]["label"] for i in indices])


def test_another_size_is_made_from_the_stored_one(data_dir):
    small, stored = toys(data_dir, size=4), toys(data_dir)
    assert (small.name, small.image_shape) == ("toys4", (4, 4, 3))
    exact = Image.fromarray(stored[1]["image"]).resize((4, 4), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(small[1]["image"], np.asarray(exact))


def test_indices_end_where_the_split_ends(data_dir):
    source = toys(data_dir)
    np.testing.assert_array_equal(source[-1]["image"], source[len(source) - 1]["image"])
    with pytest.raises(IndexError):
        source[len(source)]


@pytest.mark.parametrize(
    "options, problem",
    [
        ({"split": "validation"}, "no split 'validation'; known: train, test"),
        ({"label": "style"}, "no label 'style'; known: label"),
        ({"size": 0}, "size 0 must be at least 1"),
        ({"title": "cars"}, "not prepared .* run: drf data prepare image_folder --data_dir"),
    ],
)
def test_mistakes_are_named(data_dir, options, problem):
    with pytest.raises(UserError, match=problem):
        Prepared("image_folder", data_dir, **{"title": "toys", **options})


def test_half_a_data_set_is_not_taken_for_whole(data_dir, tmp_path):
    home = tmp_path / "image_folder" / "toys"
    shutil.copytree(data_dir / "image_folder" / "toys" / "1.0.0", home / ".partial-1.0.0")
    with pytest.raises(UserError, match="not prepared"):
        toys(tmp_path)
    shutil.copytree(home / ".partial-1.0.0", home / "1.0.0")
    (home / "1.0.0" / "card.json").unlink()
    with pytest.raises(UserError, match="not prepared"):
        toys(tmp_path)


@pytest.mark.parametrize("keep", [None, 50])
def test_a_cut_or_lost_record_file_is_named(data_dir, tmp_path, keep):
    home = tmp_path / "image_folder" / "toys" / "1.0.0"
    shutil.copytree(data_dir / "image_folder" / "toys" / "1.0.0", home)
    (file,) = home.glob("*train.array_record*")
    if keep is None:
        file.unlink()
    else:
        os.truncate(file, keep)
    with pytest.raises(UserError, match=f"{home}: .*cannot be read"):
        toys(tmp_path)[0]


def test_the_newest_version_is_read(data_dir, tmp_path):
    home = tmp_path / "image_folder" / "toys"
    for version in ("1.0.0", "1.9.0", "1.10.0", "9.9.9-old"):
        shutil.copytree(data_dir / "image_folder" / "toys" / "1.0.0", home / version)
        card = home / version / "card.json"
        card.write_text(card.read_text().replace('"version": "1.0.0"', f'"version": "{version}"'))
    assert toys(tmp_path).card.version == "1.10.0"


def test_a_name_that_ends_in_a_digit_keeps_its_height_apart(data_dir, tmp_path):
    home = tmp_path / "image_folder" / "toys"
    shutil.copytree(data_dir / "image_folder" / "toys" / "1.0.0", home / "1.0.0")
    card = home / "1.0.0" / "card.json"
    card.write_text(card.read_text().replace('"family": "toys"', '"family": "cifar10"'))
    assert toys(tmp_path).name == "cifar10-8"
