"""Two players on where rounds end: who learns from which term, and what the terms are at known scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.networks.discriminator import Discriminator
from drf_jax.objectives.adversarial_term import (
    DiscriminatorLoss,
    GeneratorLoss,
    Players,
    of_players,
)
from drf_jax.objectives.perceptual import implied_x0
from drf_jax.objectives.terms import Term, Walked, further_loss
from drf_jax.process.schedule import CosineVP

PROCESS, NETWORK = CosineVP(), Discriminator(4, 3)
COND = {"label": jnp.array([0, 2])}


def normal(*shape, key=0):
    return jax.random.normal(jax.random.key(key), shape)


def features(params, image):
    """Two maps of an image."""
    return params * image, jnp.sin(image)[:, ::2]


PLAYERS = Players(PROCESS, features, NETWORK)


@pytest.fixture
def frozen():
    maps = features(1.0, jnp.zeros((2, 4, 4, 1)))
    discriminator = NETWORK.init(jax.random.key(5), maps, COND)["params"]
    return {"features": jnp.float32(2.0), "discriminator": discriminator}


def walked(states, targets):
    times = jnp.array([[0.9, 0.8], [0.5, 0.5], [0.2, 0.0]])
    return Walked(normal(2, 4, 4, 1, key=3), states, targets, times, COND)


def scores(frozen, w, state):
    image = implied_x0(PROCESS, w.anchor, w.times[0], state, w.times[-1])
    return NETWORK.apply({"params": frozen["discriminator"]}, features(2.0, image), COND)


def test_the_student_is_judged_by_the_image_that_its_end_implies(frozen):
    w = walked(normal(2, 2, 4, 4, 1), normal(2, 2, 4, 4, 1, key=1))
    np.testing.assert_allclose(
        GeneratorLoss(PLAYERS)(frozen, w), -scores(frozen, w, w.states[-1]).sum(0), rtol=1e-5
    )
    real, fake = scores(frozen, w, w.targets[-1]), scores(frozen, w, w.states[-1])
    hinge = np.maximum(0, 1 - real) + np.maximum(0, 1 + fake)
    np.testing.assert_allclose(DiscriminatorLoss(PLAYERS, 0.0)(frozen, w), hinge.sum(0), rtol=1e-5)
    assert (DiscriminatorLoss(PLAYERS, 5.0)(frozen, w) > hinge.sum(0)).all()


def test_whoever_sees_no_difference_has_a_loss_of_two_a_head(frozen):
    states = normal(2, 2, 4, 4, 1)
    w = walked(states, states)
    assert (jnp.abs(scores(frozen, w, states[-1])) < 1).all()
    np.testing.assert_allclose(DiscriminatorLoss(PLAYERS, 0.0)(frozen, w), 2 * 2, rtol=1e-6)


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_each_player_learns_from_its_own_term(frozen, weight):
    targets = normal(2, 2, 4, 4, 1, key=1)
    terms = (
        Term("adversarial", weight, GeneratorLoss(PLAYERS)),
        Term("discriminator", 1.0, DiscriminatorLoss(PLAYERS, 3.0)),
    )

    def objective(params, frozen, batch, key):
        return further_loss(terms, frozen, walked(params, batch["targets"]))

    params = {"student": normal(2, 2, 4, 4, 1), "discriminator": frozen["discriminator"]}
    own = {"features": frozen["features"]}
    batch, key = {"targets": targets}, jax.random.key(0)
    total = lambda p: of_players(objective)(p, own, batch, key)[0].sum()
    found = jax.grad(total)(params)

    def student(states):
        return weight * GeneratorLoss(PLAYERS)(frozen, walked(states, targets)).sum()

    def discriminator(phi):
        one = frozen | {"discriminator": phi}
        return DiscriminatorLoss(PLAYERS, 3.0)(one, walked(params["student"], targets)).sum()

    expected = {
        "student": jax.grad(student)(params["student"]),
        "discriminator": jax.grad(discriminator)(params["discriminator"]),
    }
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, expected
    )
    heads = found["discriminator"].values()
    assert all(jnp.abs(head["in"]["kernel"]).max() > 0 for head in heads)
    # Only where a round ends.
    assert jnp.abs(found["student"][-1]).max() > 0 and not found["student"][0].any()
