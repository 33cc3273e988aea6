import jax
import jax.numpy as jnp
import numpy as np

from drf_jax.networks.classifier import ClassifierNetwork, feature_maps
from drf_jax.networks.discriminator import Discriminator

IMAGE = jnp.linspace(-1, 1, 2 * 8 * 8).reshape(2, 8, 8, 1)
COND = {"label": jnp.array([0, 2])}


def test_feature_maps_are_those_that_the_classifier_computes(make):
    network = ClassifierNetwork(3, features=5, width=4)
    params, apply = make(network, IMAGE)
    maps = feature_maps(network, params, IMAGE)
    assert [m.shape for m in maps] == [(2, 8, 8, 4), (2, 4, 4, 8)]
    hidden = maps[-1].reshape(2, -1) @ params["hidden"]["kernel"] + params["hidden"]["bias"]
    np.testing.assert_allclose(jax.nn.relu(hidden), apply(params, IMAGE)[0], rtol=1e-4, atol=1e-6)


def test_feature_maps_have_gradients_for_the_image(make):
    network = ClassifierNetwork(3, features=5, width=4)
    params, _ = make(network, IMAGE)
    for k in range(2):
        slope = jax.grad(lambda x, k=k: feature_maps(network, params, x)[k].sum())(IMAGE)
        assert jnp.abs(slope).max() > 1e-4


def maps(key=0):
    a, b = jax.random.split(jax.random.key(key))
    return jax.random.normal(a, (2, 6, 6, 3)), jax.random.normal(b, (2, 3, 3, 5))


def test_each_head_scores_its_own_map(make):
    params, apply = make(Discriminator(4, num_classes=3), maps(), COND)
    scores = apply(params, maps(), COND)
    assert scores.shape == (2, 2)
    other = apply(params, (maps()[0], maps(1)[1]), COND)
    np.testing.assert_array_equal(other[0], scores[0])
    assert jnp.abs(other[1] - scores[1]).max() > 1e-3
    swapped = apply(params, jax.tree.map(lambda m: m[::-1], maps()), {"label": COND["label"][::-1]})
    np.testing.assert_allclose(swapped, scores[:, ::-1], rtol=1e-4, atol=1e-6)


def test_the_label_matters_to_a_conditional_discriminator_only(make):
    null = {"label": jnp.array([3, 3])}
    for classes in (3, 0):
        params, apply = make(Discriminator(4, classes), maps(), COND)
        change = jnp.abs(apply(params, maps(), null) - apply(params, maps(), COND)).max()
        assert (change > 1e-3) == (classes > 0)
