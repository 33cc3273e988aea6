"""The promise of an evaluation: the same images for any batch size and any number of devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import build
from drf_jax.data.digits import Digits
from drf_jax.denoiser import Denoiser
from drf_jax.evaluation.generate import generate
from drf_jax.evaluation.spread import spread
from drf_jax.networks.dit import DiT
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.noise import initial_noise, sample_keys
from drf_jax.process.schedule import CosineVP
from drf_jax.sampling.loops import COMPILED
from drf_jax.sharding import make_mesh

ROOT = jax.random.key(11)
SHAPE = (4, 4, 1)
COUNT = 64
SECTIONS = {
    "ddpm": {"name": "serial", "steps": 3, "eta": 1.0},
    "driffusion": {"name": "driffusion", "mode": "conservative", "steps": 6, "drafts": 2},
}


def cond(index):
    return {"label": jnp.asarray(index % 3, jnp.int32)}


@pytest.fixture(scope="module")
def denoiser():
    network = DenoisingNetwork(DiT(channels=1, patch=2, width=8, depth=1, heads=2, num_classes=3))
    args = jnp.zeros((1, *SHAPE)), jnp.zeros(1), cond(np.zeros(1, int))
    shapes = jax.eval_shape(network.init, jax.random.key(0), *args)["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda s: jnp.asarray(rng.normal(0, 0.2, s.shape), s.dtype), shapes)
    return Denoiser(params, network, CosineVP(), "v")


@pytest.fixture(scope="module", params=sorted(SECTIONS))
def method(request, denoiser):
    section = SECTIONS[request.param]
    return build.method(request.param, section, denoiser, Digits(), COMPILED, "test")


@pytest.fixture(scope="module")
def alone(method):
    """One device, one batch."""
    return generate(method.sampler, ROOT, np.arange(COUNT), SHAPE, cond, COUNT)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_images_do_not_depend_on_the_batch_size(method, alone, batch_size):
    assert alone.std() > 0.1
    count = 15
    images = generate(method.sampler, ROOT, np.arange(count), SHAPE, cond, batch_size)
    np.testing.assert_allclose(images, alone[:count], atol=2e-5)


@pytest.mark.parametrize("axes", [(8, 1, 1), (2, 2, 2)])
def test_images_do_not_depend_on_the_devices(method, alone, axes):
    mesh = make_mesh(*axes)
    sampler, placed = spread(method.sampler, mesh, COUNT), []

    def watched(*args):
        images = sampler(*args)
        placed.append((args[0].sharding.device_set, images.sharding.device_set))
        return images

    images = generate(watched, ROOT, np.arange(COUNT), SHAPE, cond, COUNT)
    np.testing.assert_allclose(images, alone, atol=2e-5)
    assert [(len(a), len(b)) for a, b in placed] == [(1, 8)]


def test_each_device_gets_its_part_of_the_same_noise():
    seen = []

    def sampler(noise, keys, cond):
        seen.append((noise, keys, cond))
        return noise

    split = spread(sampler, make_mesh(8), 16)
    images = generate(split, ROOT, np.arange(16), SHAPE, cond, 16)
    keys = sample_keys(ROOT, np.arange(16))
    np.testing.assert_array_equal(images, initial_noise(keys, SHAPE))
    noise, split_keys, split_cond = seen[0]
    assert {shard.data.shape for shard in noise.addressable_shards} == {(2, *SHAPE)}
    assert {shard.data.shape for shard in split_cond["label"].addressable_shards} == {(2,)}
    assert (split_keys == keys).all()
    np.testing.assert_array_equal(split_cond["label"], np.arange(16) % 3)


@pytest.mark.parametrize("batch_size", [1, 7, 16])
def test_the_noise_is_the_same_bit_for_bit(batch_size):
    whole = initial_noise(sample_keys(ROOT, np.arange(16)), SHAPE)
    keep = spread(lambda noise, keys, cond: noise, make_mesh(8), batch_size)
    noise = generate(keep, ROOT, np.arange(16), SHAPE, None, batch_size)
    np.testing.assert_array_equal(noise, whole)


def test_what_does_not_divide_stays_where_it_is(method):
    assert spread(method.sampler, make_mesh(8), 12) is method.sampler
    one = make_mesh(devices=jax.devices()[:1])
    assert spread(method.sampler, one, 16) is method.sampler
