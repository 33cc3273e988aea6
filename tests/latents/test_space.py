"""Images to latents and back."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.evaluation.weights_file import read_weights
from drf_jax.latents.space import LatentSpace, posterior
from drf_jax.networks.autoencoder import Autoencoder
from drf_jax.networks.autoencoder_weights import autoencoder_params

FOLDER = Path(__file__).parents[1] / "golden"
NET = Autoencoder(widths=(32, 64), blocks=1)


@pytest.fixture(scope="module")
def golden():
    return np.load(FOLDER / "sd_vae.npz")


@pytest.fixture(scope="module")
def params():
    return autoencoder_params(NET, read_weights(FOLDER / "sd_vae.safetensors"))


def nhwc(x):
    return jnp.asarray(x.transpose(0, 2, 3, 1))


def test_the_posterior_matches_diffusers(golden):
    mean, std = posterior(nhwc(golden["moments64"]).astype(jnp.float32))
    np.testing.assert_array_equal(mean, nhwc(golden["moments64"])[..., :4].astype(jnp.float32))
    np.testing.assert_allclose(std, nhwc(golden["std"]), rtol=1e-5)
    extreme = jnp.concatenate([jnp.zeros((1, 1, 1, 2)), jnp.full((1, 1, 1, 2), 1e4)], -1)
    np.testing.assert_allclose(posterior(extreme)[1], np.exp(10.0), rtol=1e-6)


def test_latents_are_scaled_and_shifted_and_decoding_undoes_it(golden, params):
    space = LatentSpace(params, NET, scale=0.5, shift=0.25)
    encode = jax.jit(lambda space, image: space.encode(image))
    latent = encode(space, nhwc(golden["image"]))
    mean = nhwc(golden["moments64"])[..., :4]
    np.testing.assert_allclose(latent, 0.5 * (mean - 0.25), atol=1e-4)
    image = jax.jit(lambda space, z: space.decode(z))(space, 0.5 * (nhwc(golden["z"]) - 0.25))
    np.testing.assert_allclose(image, nhwc(golden["decoded64"]), atol=1e-4)


def test_samples_of_the_posterior_have_its_moments_and_their_own_keys(golden, params):
    space = LatentSpace({"encoder": params["encoder"]}, NET, scale=1.0)
    image = jnp.tile(nhwc(golden["image"])[:1, :8, :8], (512, 1, 1, 1))
    encode = jax.jit(lambda space, image, keys: space.encode(image, keys))
    keys = jax.random.split(jax.random.key(0), 512)
    drawn = encode(space, image, keys)
    mean = jax.jit(lambda space, image: space.encode(image))(space, image[:2])
    spread = drawn.std(axis=0)
    assert np.max(np.abs(drawn.mean(axis=0) - mean[0]) / spread) < 5 / np.sqrt(512)
    again = encode(space, image, keys[::-1])
    np.testing.assert_allclose(again[::-1], drawn, atol=1e-5)
