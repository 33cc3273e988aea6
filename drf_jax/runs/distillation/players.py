"""Two players in one tree: a student and the discriminator of its samples, each with an optimizer of its own."""

import jax
import jax.numpy as jnp
import optax

from drf_jax import build
from drf_jax.data.conditioning import null_cond
from drf_jax.data.source import Source
from drf_jax.networks.classifier import ClassifierNetwork
from drf_jax.networks.discriminator import Discriminator
from drf_jax.objectives.adversarial_term import of_players
from drf_jax.runs.distillation.features import every_map
from drf_jax.runs.distillation.stage import Setting
from drf_jax.training.adversarial_step import by_group
from drf_jax.typing import Objective, Params, PRNGKey

STUDENT, DISCRIMINATOR = "student", "discriminator"
WIDTH = 64
"""Of the heads of a term's discriminator."""


def discriminator_of(data: Source, width: int = WIDTH) -> Discriminator:
    return Discriminator(width, data.num_classes)


def init_discriminator(network: Discriminator, data: Source, key: PRNGKey) -> Params:
    """Its first parameters; the maps that it sees are a classifier's, whatever the classes."""
    x = jnp.zeros((1, *data.image_shape))
    shapes = jax.eval_shape(ClassifierNetwork(1).init, key, x)["params"]
    maps = jax.eval_shape(every_map, shapes, x)
    maps = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), maps)
    return network.init(key, maps, null_cond(data, 1))["params"]


def optimizer_of_players(setting: Setting, learning_rate: float) -> optax.GradientTransformation:
    """The run's optimizer for the student; the discriminator's has no momentum, and a rate of its own."""
    discriminator = setting.optimizer(learning_rate=learning_rate, b1=0.0, b2=0.99)
    return by_group({STUDENT: setting.optimizer(), DISCRIMINATOR: discriminator})


def with_players(spec: build.WithTerms, setting: Setting, student: Params, key: PRNGKey) -> Params:
    """What is trained: the student's parameters or, if a term is adversarial, both players'."""
    if not spec.adversarial_weight:
        return student
    data = setting.teacher.data
    other = init_discriminator(discriminator_of(data), data, jax.random.fold_in(key, WIDTH))
    return {STUDENT: student, DISCRIMINATOR: other}


def student_of(params: Params) -> Params:
    """The student's parameters of what is trained."""
    return params[STUDENT] if set(params) == {STUDENT, DISCRIMINATOR} else params


def played(spec: build.WithTerms, objective: Objective) -> Objective:
    """The objective of what is trained."""
    return of_players(objective) if spec.adversarial_weight else objective


def optimizer_of(spec: build.WithTerms, setting: Setting) -> optax.GradientTransformation:
    """The optimizer of what is trained."""
    if not spec.adversarial_weight:
        return setting.optimizer()
    return optimizer_of_players(setting, spec.discriminator_learning_rate)
