import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.networks.classifier import ClassifierNetwork, rescale_features


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (64, 64, 3)])
def test_one_network_serves_small_and_large_images(shape):
    network = ClassifierNetwork(num_classes=7)
    params = network.init(jax.random.key(0), jnp.zeros((1, *shape)))["params"]
    features, logits = network.apply({"params": params}, jnp.ones((2, *shape)))
    assert features.shape == (2, 64) and logits.shape == (2, 7)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) < 300_000


def test_rescaling_features_keeps_the_logits():
    network = ClassifierNetwork(num_classes=3)
    x = jax.random.normal(jax.random.key(1), (4, 8, 8, 1))
    params = network.init(jax.random.key(0), x)["params"]
    features, logits = network.apply({"params": params}, x)
    scaled_features, same = network.apply({"params": rescale_features(params, 3.0)}, x)
    np.testing.assert_allclose(scaled_features, 3 * features, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(same, logits, atol=1e-5)
