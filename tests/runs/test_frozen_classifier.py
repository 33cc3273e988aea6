"""The frozen classifier that a training looks through may tell other classes apart than the teacher is told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.configs import emoji64_distilled
from drf_jax.errors import UserError
from drf_jax.evaluation.features import Classifier, save_classifier
from drf_jax.networks.classifier import ClassifierNetwork
from drf_jax.runs.distil import stages_of
from drf_jax.runs.distillation.features import every_map, frozen_classifier


def classifier(path, classes, shape=(8, 8, 1)):
    """The file of one with random weights."""
    network = ClassifierNetwork(classes)
    params = network.init(jax.random.key(classes), jnp.zeros((1, *shape)))["params"]
    facts = {"image_shape": shape, "num_classes": classes, "provenance": {}}
    save_classifier(path, Classifier(params=jax.device_get(params), **facts))
    return str(path)


def stage_with(teacher, features):
    config = emoji64_distilled.get_config("method=adversarial,smoke")
    config.method.features = features
    return stages_of(config, teacher)[1][0]


@pytest.mark.parametrize("classes", [2, 12])
def test_another_label_serves(random_teacher, tmp_path, classes):
    stage = stage_with(random_teacher, classifier(tmp_path / "group.npz", classes))
    made = frozen_classifier(stage.setting, stage.spec, tmp_path / "kept.npz")
    assert made.num_classes == classes != random_teacher.data.num_classes
    image = jax.random.normal(jax.random.key(0), (3, 8, 8, 1))
    maps = every_map(made.params, image)
    features, _ = ClassifierNetwork(classes).apply({"params": made.params}, image)
    np.testing.assert_allclose(maps[-1][:, 0, 0], features, rtol=1e-6)
    shapes = jax.eval_shape(stage.init, random_teacher.denoiser.params, jax.random.key(0))
    source = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    training = stage.training(random_teacher.denoiser.params, tmp_path)
    cond = {"label": np.ones(4, np.int32), "guidance": np.full(4, 2, np.float32)}
    batch = {"x0": jnp.zeros((4, 8, 8, 1)), "cond": cond}
    loss, _ = jax.eval_shape(
        training.phases[0].objective, source, training.frozen, batch, jax.random.key(0)
    )
    assert loss.shape == (4,)


def test_other_images_are_refused(random_teacher, tmp_path):
    stage = stage_with(random_teacher, classifier(tmp_path / "large.npz", 10, (16, 16, 1)))
    with pytest.raises(UserError, match=r"features = '.*large\.npz': is for images of shape"):
        frozen_classifier(stage.setting, stage.spec, tmp_path / "kept.npz")
