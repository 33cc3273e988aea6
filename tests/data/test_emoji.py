import dataclasses
import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from drf_jax.data import emoji
from drf_jax.data.emoji import STYLES, write_emoji
from drf_jax.data.partition import split_of
from drf_jax.data.picture import open_picture, to_array
from drf_jax.data.records import open_records
from drf_jax.errors import UserError

pytest.importorskip("tensorflow_datasets")
pytest.importorskip("resvg_py")

TONES = ("1F3FB", "1F3FF")


def picture(code, side, format):
    """A square of a colour of its own, half transparent, on nothing."""
    colour = tuple(hashlib.sha256(code.lower().encode()).digest()[:3])
    image = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    image.paste((*colour, 128), (8, 8, side - 8, side - 8))
    file = io.BytesIO()
    image.save(file, format, **({"lossless": True} if format == "WEBP" else {}))
    return file.getvalue()


def svg(code):
    colour = hashlib.sha256(code.encode()).hexdigest()[:6]
    square = f'<rect x="18" y="18" width="36" height="36" fill="#{colour}"/>'
    return f'<svg viewBox="0 0 72 72" xmlns="http://www.w3.org/2000/svg">{square}</svg>'.encode()


def names(codes):
    return [
        {
            "hexcode": code,
            "annotation": f"name of {code}",
            "tags": "one, two",
            "openmoji_tags": "",
            "skintone_base_hexcode": code.split("-")[0] if "-" in code else "",
            "group": "even" if int(code.split("-")[0], 16) % 2 == 0 else "odd",
        }
        for code in codes
    ]


def contents():
    """Files of the four packages: 40 emoji, of which 20 also have two skin tones."""
    bases = [f"1F{i:03X}" for i in range(0x600, 0x628)]
    codes = bases + [f"{base}-{tone}" for base in bases[:20] for tone in TONES]
    files = {style.name: {} for style in STYLES}
    for code in codes:
        low = code.lower()
        files["noto"][f"package/img/google/64/{low}.png"] = picture(code, 64, "PNG")
        files["twemoji"][f"package/img/twitter/64/{low}.png"] = picture(code + "t", 64, "PNG")
        files["openmoji"][f"package/color/svg/{code}.svg"] = svg(code)
        files["fluent"][f"package/assets/{low}.webp"] = picture(code + "f", 128, "WEBP")
    files["openmoji"]["package/data/openmoji.json"] = json.dumps(names(codes)).encode()
    return files


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """``publish(files)`` puts archives into a cache and pins the styles to them."""

    def publish(files):
        styles = []
        for style in STYLES:
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w:gz") as tar:
                for name, data in files[style.name].items():
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
            digest = hashlib.sha256(packed.getvalue()).hexdigest()
            package = dataclasses.replace(style.package, sha256=digest)
            (tmp_path / "cache").mkdir(exist_ok=True)
            (tmp_path / "cache" / package.archive).write_bytes(packed.getvalue())
            styles.append(dataclasses.replace(style, package=package))
        monkeypatch.setattr(emoji, "STYLES", tuple(styles))
        monkeypatch.setattr(emoji, "NAMES", (styles[2].package, emoji.NAMES[1]))
        return tmp_path / "cache"

    return publish


def records(folder):
    return {split: list(open_records(folder, split)) for split in ("train", "test")}


def test_every_drawing_is_stored_with_its_facts(tmp_path, packages):
    folder, card = write_emoji(tmp_path / "out", packages(contents()), size=16)
    assert card.counts == {style.name: 80 for style in STYLES} and card.left_out == {}
    assert card.classes["group"] == ["even", "odd"] and sum(card.splits.values()) == 320
    for record in records(folder)["test"]:
        style, code = STYLES[record["style"]], record["code"].decode()
        assert record["licence"].decode() == style.licence
        assert record["caption"].decode() == f"name of {code.upper()}; one, two"
        assert record["group"] == int(code.split("-")[0], 16) % 2
        image = to_array(open_picture(record["image"], "x"))
        assert image.shape == (16, 16, 3) and image[0, 0].min() >= 250


def test_centres_have_the_colours_of_the_files_on_white(tmp_path, packages):
    folder, _ = write_emoji(tmp_path / "out", packages(contents()), size=16)
    for record in records(folder)["train"][:40]:
        name, code = STYLES[record["style"]].name, record["code"].decode()
        suffix = {"twemoji": "t", "fluent": "f"}.get(name, "")
        if name == "openmoji":
            expected = list(hashlib.sha256(code.upper().encode()).digest()[:3])
        else:
            colour = hashlib.sha256((code + suffix).encode()).digest()[:3]
            expected = np.array(list(colour)) * 128 / 255 + 127
        centre = to_array(open_picture(record["image"], "x"))[8, 8]
        np.testing.assert_allclose(centre, expected, atol=1.5)


def test_styles_and_tones_of_an_emoji_share_a_split(tmp_path, packages):
    folder, _ = write_emoji(tmp_path / "out", packages(contents()), size=8)
    where = {}
    for split, some in records(folder).items():
        for record in some:
            base = record["code"].decode().split("-")[0]
            where.setdefault(base, []).append(split)
    assert {len(set(splits)) for splits in where.values()} == {1}
    assert all(splits[0] == split_of(base, 0.1) for base, splits in where.items())
    assert {len(splits) for splits in where.values()} == {4, 12}


def test_the_first_images_are_a_mixture_of_styles(tmp_path, packages):
    folder, _ = write_emoji(tmp_path / "out", packages(contents()), size=8)
    first = [record["style"] for record in records(folder)["train"][:100]]
    assert np.bincount(first, minlength=4).min() >= 12  # of 25 each; in file order it would be 0


def test_what_is_left_out_is_counted(tmp_path, packages):
    files = contents()
    noto = files["noto"]
    same = picture("1F600", 64, "PNG")
    noto["package/img/google/64/1f600-1f3fb.png"] = same  # the tone looks like the base
    noto["package/img/google/64/1f601-fe0f.png"] = picture("again", 64, "PNG")
    noto["package/img/google/64/1faff.png"] = picture("nameless", 64, "PNG")
    folder, card = write_emoji(tmp_path / "out", packages(files), size=8)
    assert card.counts["noto"] == 79
    assert card.left_out == {
        "noto: no caption for the code point": 1,
        "noto: same pixels as another emoji": 1,
        "noto: second drawing of an emoji": 1,
    }
    every = [record for some in records(folder).values() for record in some]
    codes = {record["code"].decode() for record in every if record["style"] == 0}
    assert "1f600" in codes and "1f600-1f3fb" not in codes


def test_a_damaged_drawing_is_named(tmp_path, packages):
    for file, data in [("openmoji", b"<svg"), ("twemoji", b"\x89PNG\r\n")]:
        files = contents()
        name = sorted(files[file])[0]
        files[file][name] = data
        with pytest.raises(UserError, match=name):
            write_emoji(tmp_path / "out", packages(files), size=8)


def test_size_is_checked(tmp_path):
    with pytest.raises(UserError, match="size 0"):
        write_emoji(tmp_path, tmp_path, size=0)
