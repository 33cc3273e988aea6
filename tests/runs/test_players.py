"""Students of the teacher's walk with a discriminator: what is trained, by which optimizer, and what samples."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from drf_jax.configs import emoji64_distilled
from drf_jax.evaluation.features import Classifier, save_classifier
from drf_jax.networks.classifier import ClassifierNetwork
from drf_jax.noise import sample_keys
from drf_jax.objectives.guidance import KEY
from drf_jax.runs.distil import stages_of
from drf_jax.runs.distillation import stage as stage_module
from drf_jax.runs.distillation.features import judge_of
from drf_jax.runs.distillation.players import student_of

METHODS = [
    ("step", {}),
    ("draft_refine", {}),
    ("draft_refine", {"lora_rank": 2}),
    ("draft_refine_anchored", {}),
]


@pytest.fixture
def features(tmp_path):
    network = ClassifierNetwork(3)
    params = network.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))["params"]
    facts = {"image_shape": (8, 8, 1), "num_classes": 3, "provenance": {}}
    save_classifier(tmp_path / "f.npz", Classifier(params=jax.device_get(params), **facts))
    return str(tmp_path / "f.npz")


def stage_of(teacher, method, **changes):
    config = emoji64_distilled.get_config(f"method={method},smoke")
    config.method.update(changes)
    return stages_of(config, teacher)[1][0]


@pytest.mark.parametrize("method, changes", METHODS)
def test_a_discriminator_is_trained_beside_the_student_and_does_not_sample(
    random_teacher, features, method, changes
):
    plain = stage_of(random_teacher, method, **changes)
    stage = stage_of(random_teacher, method, adversarial_weight=0.1, features=features, **changes)
    source, key = random_teacher.denoiser.params, jax.random.key(0)
    student, both = plain.init(source, key), stage.init(source, key)
    assert set(both) == {"student", "discriminator"}
    jax.tree.map(np.testing.assert_array_equal, student_of(both), student)
    assert student_of(student) is student
    noise, keys = (
        jax.random.normal(jax.random.key(1), (2, 8, 8, 1)),
        sample_keys(jax.random.key(7), np.arange(2)),
    )
    cond = {"label": jnp.array([1, 2], jnp.int32)}
    draw = lambda stage, params: stage.method(params, stage.calls[0], 1.0).sampler(
        noise, keys, cond
    )
    np.testing.assert_array_equal(draw(stage, both), draw(plain, student))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["step", "draft_refine_anchored"])
def test_an_update_moves_each_player_by_its_own_optimizer(
    random_teacher, features, method, monkeypatch, tmp_path
):
    states = np.random.default_rng(0).standard_normal((4, 5, 8, 8, 1)).astype(np.float32)
    cond = {"label": jnp.ones(4, jnp.int32), KEY: jnp.ones(4)}
    batch = {"states": jnp.asarray(states), "cond": cond}
    monkeypatch.setattr(stage_module, "teacher_trajectories", lambda *args: None)
    monkeypatch.setattr(stage_module, "trajectory_batches", lambda *args: lambda i: batch)
    stage = stage_of(
        random_teacher,
        method,
        adversarial_weight=0.1,
        features=features,
        discriminator_learning_rate=0.5,
    )
    source = random_teacher.denoiser.params
    training, params = stage.training(source, tmp_path), stage.init(source, jax.random.key(0))
    assert judge_of(tmp_path)  # no student is scored with it
    for phase in training.phases:

        def total(params, objective=phase.objective):
            loss, metrics = objective(params, training.frozen, batch, jax.random.key(0))
            return loss.mean(), metrics

        grads, metrics = jax.grad(total, has_aux=True)(params)
        assert {"adversarial", "discriminator"} <= set(metrics)
        # Of the warm-up the first update has rate 0.
        state = training.optimizer.init(params)
        for _ in range(2):
            updates, state = training.optimizer.update(grads, state, params)
        moved = {name: optax.global_norm(tree) for name, tree in updates.items()}
        assert moved["student"] > 0 and moved["discriminator"] > 0
        largest = max(float(jnp.abs(u).max()) for u in jax.tree.leaves(updates["discriminator"]))
        assert 0.1 < largest < 1  # Adam's steps are of about the learning rate
