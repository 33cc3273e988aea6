import io

import numpy as np
import pytest
from PIL import Image

from drf_jax.data.picture import crop, on_white, open_picture, pad, to_array, to_png
from drf_jax.errors import UserError


def png(picture, **options):
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 3])
def test_png_keeps_every_byte(channels):
    image = np.arange(4 * 5 * channels, dtype=np.uint8).reshape(4, 5, channels)
    np.testing.assert_array_equal(to_array(open_picture(to_png(image), "x")), image)


@pytest.mark.parametrize("keep", [0, 20, 60])
def test_a_cut_file_is_named(keep):
    whole = png(Image.fromarray(np.arange(3000, dtype=np.uint8).reshape(25, 40, 3)))
    with pytest.raises(UserError, match=r"cat.png: not a whole picture"):
        open_picture(whole[:keep], "cat.png")


def test_alpha_mixes_with_white():
    rgba = np.array([[[255, 0, 0, 255], [0, 0, 0, 0], [0, 0, 0, 51]]], np.uint8)
    mixed = to_array(on_white(Image.fromarray(rgba)))
    np.testing.assert_array_equal(mixed, [[[255, 0, 0], [255] * 3, [204] * 3]])


def test_crop_takes_the_centre_square_and_pad_the_whole():
    wide = np.zeros((2, 6, 3), np.uint8)
    wide[:, :2], wide[:, 2:4], wide[:, 4:] = 10, 20, 30
    np.testing.assert_array_equal(to_array(crop(Image.fromarray(wide), 2)), np.full((2, 2, 3), 20))
    padded = to_array(pad(Image.fromarray(wide), 6))
    np.testing.assert_array_equal(padded[2:4], wide)
    assert (padded[:2] == 255).all() and (padded[4:] == 255).all()


def test_shrinking_averages_instead_of_skipping():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    small = to_array(crop(Image.fromarray(stripes), 8))
    assert np.abs(small.astype(int) - 100).max() <= 6


def test_a_rotated_photograph_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    data = png(Image.fromarray(np.array([[[1], [2]]], np.uint8)[..., 0]), exif=exif)
    np.testing.assert_array_equal(to_array(open_picture(data, "x"))[..., 0], [[2, 1]])
