"""Tiled decoding: the plain decode where the decoder is local, smooth where it is not."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation.weights_file import read_weights
from drf_jax.latents.space import LatentSpace
from drf_jax.latents.tiled import decode_tiled, ramp, starts
from drf_jax.networks.autoencoder import Autoencoder
from drf_jax.networks.autoencoder_weights import autoencoder_params
from drf_jax.sampling.loops import COMPILED, PYTHON

LOOPS = {"compiled": COMPILED, "python": PYTHON}


def pointwise(latent):
    """A decoder that sees one latent pixel: doubles the side and makes 2 channels of 3."""
    return jnp.sin(latent[..., :2] * latent[..., 2:]).repeat(2, axis=1).repeat(2, axis=2)


def neighbours(latent):
    """A decoder that sees one pixel around, with zeros outside, as convolutions do."""
    padded = jnp.pad(latent, ((0, 0), (1, 1), (1, 1), (0, 0)))
    mean = sum(
        padded[:, y : y + latent.shape[1], x : x + latent.shape[2]] for y, x in np.ndindex(3, 3)
    )
    return pointwise(mean / 9)


def latent(height, width, channels=3):
    return jax.random.normal(jax.random.key(0), (2, height, width, channels))


@pytest.mark.parametrize("side", [1, 7, 8, 9, 12, 20, 23])
@pytest.mark.parametrize(("tile", "overlap"), [(8, 0), (8, 2), (8, 7)])
def test_tiles_cover_a_side_and_overlap_enough(side, tile, overlap):
    first = starts(side, tile, overlap)
    ends = [i + tile for i in first]
    assert first[0] == 0 and (ends[-1] == side or side <= tile)
    assert all(end - start >= overlap for end, start in zip(ends, first[1:], strict=False))


def test_weights_of_regular_tiles_add_up_to_one():
    w = ramp(8, 3)
    np.testing.assert_allclose(w[-3:] + w[:3], 1)
    assert w.min() > 0 and w.max() == 1


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize(("height", "width"), [(13, 9), (8, 21)])
def test_a_pointwise_decoder_is_decoded_exactly(loop, height, width):
    z = latent(height, width)
    tiled = decode_tiled(pointwise, z, 2, 8, 3, loop)
    np.testing.assert_allclose(tiled, pointwise(z), atol=1e-6)


def test_a_local_decoder_is_exact_away_from_the_seams():
    z = latent(8, 18)
    plain, tiled = neighbours(z), decode_tiled(neighbours, z, 2, 8, 3)
    gap = np.max(np.abs(tiled - plain), axis=(0, 1, 3)).reshape(-1, 2).max(1)
    assert starts(18, 8, 3) == [0, 5, 10]
    alone = [x for x in range(18) if sum(start <= x < start + 8 for start in (0, 5, 10)) == 1]
    assert len(alone) == 12  # all further from the inner edge of their tile than the decoder sees
    assert np.max(gap[alone]) < 1e-6 and np.max(gap) > 1e-3


def test_a_latent_that_fits_is_decoded_at_once():
    z = latent(6, 8)
    np.testing.assert_array_equal(decode_tiled(pointwise, z, 2, 8, 3), pointwise(z))


def test_the_autoencoder_s_tiles_are_near_its_plain_decode():
    """Not equal: a tile has statistics of its own. Random weights, so the bound is this test's."""
    net = Autoencoder(widths=(32, 64), blocks=1)
    tensors = read_weights(Path(__file__).parents[1] / "golden" / "sd_vae.safetensors")
    space = LatentSpace(autoencoder_params(net, tensors), net)
    decode = jax.jit(space.decode)
    z = latent(24, 24, 4)
    plain, tiled = decode(z), decode_tiled(decode, z, net.factor, 16, 8, PYTHON)
    error = np.sqrt(np.mean((tiled - plain) ** 2)) / np.std(plain)
    assert 1e-3 < error < 0.1


def test_overlap_must_be_below_the_tile():
    with pytest.raises(UserError, match="overlap = 8: must be from 0 to tile − 1 = 7"):
        decode_tiled(pointwise, latent(9, 9), 2, 8, 8)
