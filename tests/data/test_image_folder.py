import numpy as np
import pytest
from PIL import Image

from drf_jax.data.image_folder import write_image_folder
from drf_jax.data.partition import split_of
from drf_jax.data.picture import open_picture, to_array
from drf_jax.data.records import open_records
from drf_jax.errors import UserError

pytest.importorskip("tensorflow_datasets")


def save(path, colour=(10, 20, 30), mode="RGB", size=(12, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def animals(tmp_path):
    root = tmp_path / "animals"
    for i in range(6):
        save(root / "cat" / f"{i}.png", (i, 0, 0))
        save(root / "dog" / "small" / f"{i}.bmp", (0, i, 0))
    return root


def read(folder, split):
    return [
        {**record, "image": to_array(open_picture(record["image"], "x"))}
        for record in open_records(folder, split)
    ]


def test_sub_folders_are_the_labels(tmp_path, animals):
    folder, card = write_image_folder(
        tmp_path / "out", tmp_path, str(animals), size=4, test_fraction=0.0
    )
    assert card.classes == {"label": ["cat", "dog"]} and card.counts == {"cat": 6, "dog": 6}
    assert (card.family, card.splits, card.texts) == ("animals", {"train": 12}, ())
    for example in read(folder, "train"):
        assert example["image"].shape == (4, 4, 3)
        assert example["image"][..., 1 - example["label"]].sum() == 0


def test_the_split_goes_by_the_path(tmp_path, animals):
    folder, card = write_image_folder(
        tmp_path / "out", tmp_path, str(animals), size=4, test_fraction=0.4
    )
    cats = {i for i in range(6) if split_of(f"cat/{i}.png", 0.4) == "test"}
    assert sum(card.splits.values()) == 12
    assert {e["image"][0, 0, 0] for e in read(folder, "test") if e["label"] == 0} == cats


def test_captions_lie_beside_the_pictures(tmp_path, animals):
    (animals / "cat" / "3.txt").write_text("a red\n cät \n", encoding="utf-8")
    folder, card = write_image_folder(
        tmp_path / "out", tmp_path, str(animals), size=4, test_fraction=0.0
    )
    assert card.texts == ("caption",)
    captions = {
        (e["label"], e["image"].max()): e["caption"].decode() for e in read(folder, "train")
    }
    assert captions[0, 3] == "a red cät" and captions[0, 4] == captions[1, 3] == ""


def test_grey_sets_and_colour_sets_do_not_mix(tmp_path, animals):
    with pytest.raises(UserError, match=r"cat/\d.png: coloured .*channels=1|\.bmp: coloured"):
        write_image_folder(tmp_path / "out", tmp_path, str(animals), channels=1)
    save(animals / "cat" / "grey.png", 7, "L")
    with pytest.raises(UserError, match=r"cat/grey.png: grey \(Pillow's mode L\)"):
        write_image_folder(tmp_path / "out", tmp_path, str(animals))


def test_a_grey_set_keeps_its_values(tmp_path):
    save(tmp_path / "grey" / "a.png", 77, "L")
    folder, card = write_image_folder(
        tmp_path / "out", tmp_path, str(tmp_path / "grey"), size=4, channels=1, test_fraction=0.0
    )
    assert card.image_shape == (4, 4, 1) and card.classes == {"label": [""]}
    np.testing.assert_array_equal(read(folder, "train")[0]["image"], np.full((4, 4, 1), 77))


def test_more_than_eight_bits_are_refused(tmp_path):
    save(tmp_path / "deep" / "a.png", 30000, "I;16")
    with pytest.raises(UserError, match=r"a.png: Pillow's mode I;16 has more than 8 bits"):
        write_image_folder(tmp_path / "out", tmp_path, str(tmp_path / "deep"), channels=1)


def test_a_truncated_picture_is_named(tmp_path, animals):
    path = animals / "dog" / "cut.png"
    save(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"dog/cut.png: not a whole picture"):
        write_image_folder(tmp_path / "out", tmp_path, str(animals))


def test_zero_images_and_missing_folders_are_named(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        write_image_folder(tmp_path / "out", tmp_path, str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="empty: zero images"):
        write_image_folder(tmp_path / "out", tmp_path, str(tmp_path / "empty"))


@pytest.mark.parametrize("bad", [{"channels": 2}, {"size": 0}, {"test_fraction": 1.0}])
def test_options_out_of_range_are_named(tmp_path, bad):
    ((key, value),) = bad.items()
    with pytest.raises(UserError, match=f"{key} {value}"):
        write_image_folder(tmp_path, tmp_path, str(tmp_path), **bad)
