"""How an image becomes the 299x299 input of the FID Inception: three conventions in use.

All three are linear and act on rows and columns separately: with the interpolation matrices
R_h [299, h] and R_w [299, w], each channel X becomes R_h X R_w^T. With s = n / 299 (n the old side)
and i the new pixel's index, row i of R takes

    bilinear        at s (i + 1/2) - 1/2, at least 0: the two pixels around it, by distance     (1)
    tf1_bilinear    at s i: the two pixels around it, by distance                               (2)
    bicubic         k((j + 1/2 - s (i + 1/2)) / max(s, 1)) at pixel j, scaled to sum 1          (3)

where k is Keys' cubic with a = -1/2, which (3) widens when it makes an image smaller (antialias).
None of (1) and (2) does. A pixel beyond the edge counts as the edge pixel in (1) and (2), and is
left out in (3). A 299x299 image stays as it is under all three.

The differences move FID by more than most papers' gains (Parmar et al. 2022, arXiv 2104.11222), so
the convention is a part of the feature space's name.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Float64, UInt8

SIDE = 299


def bilinear(n: int, m: int = SIDE) -> Float64[np.ndarray, "m n"]:
    """Equation (1): half-pixel centres, no antialias (PyTorch's align_corners=False)."""
    return _two_pixels(np.maximum((np.arange(m) + 0.5) * (n / m) - 0.5, 0), n)


def tf1_bilinear(n: int, m: int = SIDE) -> Float64[np.ndarray, "m n"]:
    """Equation (2): TensorFlow 1's ``resize_bilinear``, without the half-pixel shift."""
    return _two_pixels(np.arange(m) * (n / m), n)


def bicubic(n: int, m: int = SIDE) -> Float64[np.ndarray, "m n"]:
    """Equation (3): Pillow's bicubic of float images, antialiased."""
    scale = n / m
    centre = (np.arange(m)[:, None] + 0.5) * scale
    x = np.abs((np.arange(n) + 0.5 - centre) / max(scale, 1.0))
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    return weights / weights.sum(1, keepdims=True)


def resize(
    image: Float32[Array, "b h w c"],
    rows: Float64[np.ndarray, "m h"],
    columns: Float64[np.ndarray, "m w"],
) -> Float32[Array, "b m m c"]:
    """R_h X R_w^T for every channel, in full float32."""
    product = lambda spec, matrix, x: jnp.einsum(
        spec, matrix.astype(np.float32), x, precision=jax.lax.Precision.HIGHEST
    )
    return product("ih,bhwc->biwc", rows, product("jw,bhwc->bhjc", columns, image))


def pytorch_fid(image: UInt8[Array, "b h w 3"]) -> Float32[Array, "b 299 299 3"]:
    """pytorch-fid: u / 255, bilinear (1), then 2 x - 1."""
    _, h, w, _ = image.shape
    return 2 * resize(image.astype(jnp.float32) / 255, bilinear(h), bilinear(w)) - 1


def clean_fid(image: UInt8[Array, "b h w 3"]) -> Float32[Array, "b 299 299 3"]:
    """clean-fid: bicubic (3), clipped to [0, 255] and not rounded, then (x - 128) / 128."""
    _, h, w, _ = image.shape
    large = resize(image.astype(jnp.float32), bicubic(h), bicubic(w))
    return (jnp.clip(large, 0, 255) - 128) / 128


def tf1(image: UInt8[Array, "b h w 3"]) -> Float32[Array, "b 299 299 3"]:
    """TensorFlow 1's FID and torch-fidelity: bilinear (2), then (x - 128) / 128."""
    _, h, w, _ = image.shape
    return (resize(image.astype(jnp.float32), tf1_bilinear(h), tf1_bilinear(w)) - 128) / 128


RESIZES = {"pytorch-fid": pytorch_fid, "clean-fid": clean_fid, "tf1": tf1}
"""Every convention by its name: uint8 image -> the network's input."""


def _two_pixels(at: Float64[np.ndarray, "m"], n: int) -> Float64[np.ndarray, "m n"]:
    low = np.floor(at).astype(int)
    part = at - low
    rows = np.arange(len(at))
    matrix = np.zeros((len(at), n))
    np.add.at(matrix, (rows, low), 1 - part)
    np.add.at(matrix, (rows, np.minimum(low + 1, n - 1)), part)
    return matrix
