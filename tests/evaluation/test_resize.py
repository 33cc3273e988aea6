from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from drf_jax.evaluation.resize import (
    RESIZES,
    bicubic,
    bilinear,
    clean_fid,
    pytorch_fid,
    tf1,
    tf1_bilinear,
)

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "inception.npz")
SMALL = jnp.asarray(GOLDEN["u8_32"])
RANDOM = np.random.default_rng(0)


def images(h, w):
    return RANDOM.integers(0, 256, (1, h, w, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("resize", "name", "gain", "offset", "scale"),
    [
        (pytorch_fid, "torch", 0.5, 0.5, 1),
        (clean_fid, "clean", 128, 128, 255),
        (tf1, "tf1", 128, 128, 255),
    ],
)
def test_resized_images_match_the_packages(resize, name, gain, offset, scale):
    """The golden pixels are those before the scaling to the network's range."""
    pixels = resize(SMALL)[:, ::13, ::13] * gain + offset
    np.testing.assert_allclose(pixels, GOLDEN[f"resized_{name}_sub"], atol=1e-5 * scale)


@pytest.mark.parametrize("size", [(64, 64), (400, 611), (700, 50), (1, 5)])
def test_bicubic_is_pillows_larger_and_smaller(size):
    image = images(*size)
    channels = [Image.fromarray(image[0, ..., c].astype(np.float32)) for c in range(3)]
    pillow = [np.asarray(c.resize((299, 299), Image.Resampling.BICUBIC)) for c in channels]
    ours = clean_fid(jnp.asarray(image))[0] * 128 + 128
    np.testing.assert_allclose(ours, np.clip(np.stack(pillow, -1), 0, 255), atol=1e-3)


@pytest.mark.parametrize("name", RESIZES)
def test_an_image_of_the_final_size_is_only_scaled(name):
    image = images(299, 299)
    expected = image / 127.5 - 1 if name == "pytorch-fid" else (image - 128.0) / 128
    np.testing.assert_allclose(RESIZES[name](jnp.asarray(image)), expected, atol=1e-6)


@pytest.mark.parametrize("matrix", [bilinear, tf1_bilinear, bicubic])
@pytest.mark.parametrize("n", [1, 2, 32, 299, 640])
def test_constant_images_stay_constant(matrix, n):
    np.testing.assert_allclose(matrix(n).sum(1), 1, atol=1e-12)


def test_half_pixel_centres_are_symmetric_and_the_old_ones_are_not():
    for matrix in (bilinear, bicubic):
        np.testing.assert_allclose(matrix(7), matrix(7)[::-1, ::-1], atol=1e-12)
    assert np.abs(tf1_bilinear(7) - tf1_bilinear(7)[::-1, ::-1]).max() > 0.1


def test_two_pixels_are_interpolated_by_hand():
    np.testing.assert_allclose(bilinear(2, 4)[:, 1], [0, 0.25, 0.75, 1])
    np.testing.assert_allclose(tf1_bilinear(2, 4)[:, 1], [0, 0.5, 1, 1])
