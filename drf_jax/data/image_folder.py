"""Any folder of pictures: labels from its sub-folders, captions from ``.txt`` files beside them.

    folder/cats/1.jpg       label "cats" (a picture directly in the folder has the label "")
    folder/cats/1.txt       its caption; a picture without one has the caption ""

Pictures are laid on white, cropped to the centre square and resized. Which are tests is decided by
the path below the folder; the stored order is fixed and mixed.
"""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from drf_jax.data.card import Card
from drf_jax.data.partition import place, split_of
from drf_jax.data.picture import GREY_MODES, crop, on_white, open_picture, to_array
from drf_jax.data.records import write_records
from drf_jax.errors import UserError

VERSION = "1.0.0"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def write_image_folder(
    folder: Path,
    cache: Path,
    images: str,
    size: int = 64,
    channels: int = 3,
    test_fraction: float = 0.1,
) -> tuple[Path, Card]:
    """Stores the pictures below ``folder``; a recipe of ``prepare.py``.

    Args:
      folder: to write in.
      cache: of downloads; not used.
      images: the folder of pictures.
      size: of the square images, in pixels.
      channels: 3, all pictures in colour, or 1, all grey.
      test_fraction: of the pictures that go to the split "test", 0 <= test_fraction < 1.

    Raises:
      UserError: there is no picture; one is damaged, or grey in a coloured set (or the reverse).
    """
    if channels not in (1, 3) or size < 1 or not 0 <= test_fraction < 1:
        raise UserError(
            f"image_folder: channels {channels}, size {size}, test_fraction {test_fraction}; "
            "allowed are channels 1 or 3, size at least 1 and 0 <= test_fraction < 1"
        )
    root = Path(images)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    files = [file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES]
    files.sort(key=lambda file: place(_below(root, file)))
    if not files:
        raise UserError(f"{root}: zero images; looked for {', '.join(SUFFIXES)}, sub-folders too")
    classes = sorted({_class(root, file) for file in files})
    captioned = any(file.with_suffix(".txt").exists() for file in files)
    splits = {"train": [], "test": []}
    for file in files:
        example = {
            "image": _read(file, size, channels),
            "label": classes.index(_class(root, file)),
        }
        if captioned:
            example["caption"] = _caption(file)
        splits[split_of(_below(root, file), test_fraction)].append(example)
    records = write_records(folder, "image_folder", VERSION, splits)
    labels = [_class(root, file) for file in files]
    card = Card(
        family=root.resolve().name,
        version=VERSION,
        image_shape=(size, size, channels),
        splits=records.splits,
        label="label",
        classes={"label": classes},
        texts=("caption",) if captioned else (),
        counts={name: labels.count(name) for name in classes},
        sha256=records.sha256,
    )
    return records.folder, card


def _below(root: Path, file: Path) -> str:
    return file.relative_to(root).as_posix()


def _class(root: Path, file: Path) -> str:
    parts = file.relative_to(root).parts
    return parts[0] if len(parts) > 1 else ""


def _caption(file: Path) -> str:
    text = file.with_suffix(".txt")
    try:
        return " ".join(text.read_text(encoding="utf-8").split()) if text.exists() else ""
    except UnicodeDecodeError as error:
        raise UserError(f"{text}: not UTF-8 text ({error})") from error


def _read(file: Path, size: int, channels: int) -> UInt8[np.ndarray, "h w c"]:
    picture = open_picture(file.read_bytes(), str(file))
    grey = picture.mode in GREY_MODES
    if grey != (channels == 1):
        raise UserError(
            f"{file}: {'grey' if grey else 'coloured'} (Pillow's mode {picture.mode}) in a set with "
            f"channels={channels}; convert it, take it out, or choose the other channels"
        )
    if picture.mode.startswith(("I", "F")):
        raise UserError(f"{file}: Pillow's mode {picture.mode} has more than 8 bits; convert it")
    return to_array(_grey(crop(on_white(picture), size), channels))


def _grey(picture: Image.Image, channels: int) -> Image.Image:
    return picture.convert("L") if channels == 1 else picture
