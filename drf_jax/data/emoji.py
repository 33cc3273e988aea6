"""Emoji: about 15,000 coloured, captioned drawings on white, in four styles.

    style      package                     drawn as            licence
    noto       emoji-datasource-google     64x64 PNG           Apache-2.0
    twemoji    emoji-datasource-twitter    64x64 PNG           CC-BY-4.0
    openmoji   openmoji                    SVG                 CC-BY-SA-4.0
    fluent     @lobehub/fluent-emoji-3d    256x256 WebP        MIT

Vectors are drawn at 256x256 by resvg. Skin tones are kept. The split goes by the emoji without its
skin tone: all drawings of a thumbs-up, in every style and tone, are in the same split. The stored
order is fixed and mixed, so the first n images are a fair sample.

Left out: drawings without a caption, a style's second drawing of an emoji, and drawings that equal
another emoji's in the same style pixel for pixel (the flags of France and of Clipperton Island),
which could stand in both splits.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from jaxtyping import UInt8

from drf_jax.data.card import Card
from drf_jax.data.emoji_names import Emoji, canonical, read_names
from drf_jax.data.emoji_styles import NAMES, STYLES
from drf_jax.data.npm import fetch, members
from drf_jax.data.partition import place, split_of
from drf_jax.data.picture import on_white, open_picture, pad, to_array
from drf_jax.data.records import tfds, write_records
from drf_jax.errors import UserError

VERSION = "1.0.0"
TEST_FRACTION = 0.1
DRAWN_AT = 256
"""Pixels of a side at which vectors are drawn before they are resized."""


@dataclass(frozen=True)
class Drawing:
    """One image of the data set."""

    emoji: Emoji
    style: int
    image: UInt8[np.ndarray, "h w 3"]


def write_emoji(folder: Path, cache: Path, size: int = 64) -> tuple[Path, Card]:
    """Fetches the packages and stores the drawings below ``folder``; a recipe of ``prepare.py``.

    Args:
      folder: to write in.
      cache: where the packages are kept.
      size: of the square images, in pixels.

    Raises:
      UserError: an extra or ``npm`` is missing, a package cannot be fetched or holds other files.
    """
    if size < 1:
        raise UserError(f"emoji: size {size} must be at least 1")
    tfds(), _resvg()
    archive = fetch(NAMES[0], cache)
    table = members(archive, NAMES[1])
    names = read_names(table.get(NAMES[1], b""), f"{archive}:{NAMES[1]}")
    left_out: Counter[str] = Counter()
    drawings = [
        drawing
        for style in range(len(STYLES))
        for drawing in _drawings(style, fetch(STYLES[style].package, cache), names, size, left_out)
    ]
    drawings.sort(key=lambda drawing: place(f"{STYLES[drawing.style].name}/{drawing.emoji.code}"))
    groups = sorted({emoji.group for emoji in names.values()})
    splits = {"train": [], "test": []}
    for drawing in drawings:
        emoji, style = drawing.emoji, STYLES[drawing.style]
        splits[split_of(emoji.base, TEST_FRACTION)].append(
            {
                "image": drawing.image,
                "style": drawing.style,
                "group": groups.index(emoji.group),
                "caption": emoji.caption,
                "code": emoji.code,
                "licence": style.licence,
            }
        )
    records = write_records(folder, "emoji", VERSION, splits)
    counts = Counter(STYLES[drawing.style].name for drawing in drawings)
    card = Card(
        family="emoji",
        version=VERSION,
        image_shape=(size, size, 3),
        splits=records.splits,
        label="style",
        classes={"style": [style.name for style in STYLES], "group": groups},
        texts=("caption", "code", "licence"),
        licences={style.name: style.licence for style in STYLES},
        counts={style.name: counts[style.name] for style in STYLES},
        left_out=dict(sorted(left_out.items())),
        sha256=records.sha256,
    )
    return records.folder, card


def _drawings(
    style: int, archive: Path, names: dict[str, Emoji], size: int, left_out: Counter[str]
) -> Iterator[Drawing]:
    """The style's drawings in the order of their codes; what is left out is counted."""
    files = [
        (canonical(PurePath(f).stem), f, d)
        for f, d in members(archive, STYLES[style].files).items()
    ]
    codes, pictures = set(), set()
    for code, file, data in sorted(files):
        if code not in names:
            left_out[f"{STYLES[style].name}: no caption for the code point"] += 1
            continue
        if code in codes:
            left_out[f"{STYLES[style].name}: second drawing of an emoji"] += 1
            continue
        codes.add(code)
        vector = file.endswith(".svg")
        picture = open_picture(_draw(data, file) if vector else data, f"{archive}:{file}")
        image = to_array(pad(on_white(picture), size))
        if image.tobytes() in pictures:
            left_out[f"{STYLES[style].name}: same pixels as another emoji"] += 1
            continue
        pictures.add(image.tobytes())
        yield Drawing(names[code], style, image)


def _draw(svg: bytes, file: str) -> bytes:
    """The vector as the bytes of a PNG."""
    try:
        return bytes(
            _resvg().svg_to_bytes(
                svg_string=svg.decode(), width=DRAWN_AT, height=DRAWN_AT, skip_system_fonts=True
            )
        )
    except ValueError as error:
        raise UserError(f"{file}: not an SVG picture ({error})") from error


def _resvg():
    try:
        import resvg_py
    except ImportError as error:
        raise UserError(
            f"preparing emoji needs the extra emoji: pip install 'drf_jax[emoji]' ({error})"
        ) from error
    return resvg_py
