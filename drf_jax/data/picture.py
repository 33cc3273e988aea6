"""Picture files <-> stored images (uint8 ``[h, w, c]``), in one decoder: Pillow.

Decoders of lossy files differ in the last bit and resize filters in much more, and both move
Fréchet distances; so every file is decoded, laid on white, cropped and resized here. Resizing is
Pillow's bicubic with antialiasing (the convention of Parmar et al., "On Aliased Resizing and
Surprising Subtleties in GAN Evaluation", arXiv 2104.11222).
"""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from drf_jax.errors import UserError

GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "F")
"""Pillow's names for images of one channel, with or without alpha."""


def open_picture(data: bytes, file: str) -> Image.Image:
    """The decoded picture, turned upright where the camera recorded a rotation.

    Raises:
      UserError: the bytes are truncated or no picture; the message begins with ``file``.
    """
    try:
        picture = Image.open(io.BytesIO(data))
        picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{file}: not a whole picture ({error})") from error
    return ImageOps.exif_transpose(picture)


def on_white(picture: Image.Image) -> Image.Image:
    """The picture in RGB, its alpha composited on white."""
    rgba = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def crop(picture: Image.Image, size: int) -> Image.Image:
    """The centre square, resized to ``size`` x ``size``."""
    return ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)


def pad(picture: Image.Image, size: int) -> Image.Image:
    """The whole picture, resized into ``size`` x ``size`` with white at the shorter sides."""
    return ImageOps.pad(picture, (size, size), Image.Resampling.BICUBIC, color="white")


def to_array(picture: Image.Image) -> UInt8[np.ndarray, "h w c"]:
    """An L or RGB picture as an array of its own."""
    array = np.array(picture, np.uint8)
    return array.reshape(*array.shape[:2], -1)


def to_picture(image: UInt8[np.ndarray, "h w c"]) -> Image.Image:
    """An image of 1 or 3 channels as a picture."""
    return Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image)


def to_png(image: UInt8[np.ndarray, "h w c"]) -> bytes:
    """The image, losslessly, as a PNG file."""
    file = io.BytesIO()
    to_picture(image).save(file, "PNG")
    return file.getvalue()
