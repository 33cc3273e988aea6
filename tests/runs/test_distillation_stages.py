"""The stages of every method: what they train on, guided or not, and what they are before they are trained."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import build
from drf_jax.configs import cifar10_distilled, emoji64_distilled
from drf_jax.data.digits import Digits
from drf_jax.errors import UserError
from drf_jax.networks.classifier import ClassifierNetwork
from drf_jax.noise import sample_keys
from drf_jax.objectives.guidance import KEY
from drf_jax.process.pfgmpp import PFGMPP
from drf_jax.runs.distil import stage_shapes, stages_of
from drf_jax.runs.distillation import adversarial
from drf_jax.runs.distillation import stage as stage_module
from drf_jax.runs.distillation.rows import hybrid_identity, rows
from drf_jax.runs.source import Source
from drf_jax.runs.trajectories import Walk, guidance_weights, teacher_trajectories
from drf_jax.sampling.guidance import Guided
from drf_jax.sampling.loops import COMPILED

DATA = Digits()
KEYS = jax.random.key(7)
DRAFT_REFINE = ["draft_refine", "draft_refine_aggressive", "draft_refine_anchored"]
GUIDED = sorted(set(emoji64_distilled.METHODS) - {"consistency_training", "pfgmpp", *DRAFT_REFINE})


@pytest.fixture
def teacher(random_teacher):
    return random_teacher


def smoke(module, method):
    return module.get_config(f"method={method},smoke")


@pytest.mark.parametrize("method", list(emoji64_distilled.METHODS))
def test_every_objective_takes_its_batches(teacher, method, tmp_path, monkeypatch):
    config = smoke(emoji64_distilled, method)
    _, stages = stages_of(config, teacher)
    network = ClassifierNetwork(10)
    x = jnp.zeros((1, 8, 8, 1))
    features = jax.eval_shape(network.init, jax.random.key(0), x)["params"]
    monkeypatch.setattr(
        adversarial.AdversarialStage,
        "classifier",
        lambda self, folder: types.SimpleNamespace(params=features),
    )

    def batches(source, size, seed):
        cond = {"label": np.ones(size, np.int32), KEY: np.full(size, 2, np.float32)}
        nodes = 7 if method == "draft_refine" else 5
        return lambda i: {"states": np.zeros((size, nodes, 8, 8, 1), np.float32), "cond": cond}

    monkeypatch.setattr(stage_module, "teacher_trajectories", lambda *args: None)
    monkeypatch.setattr(stage_module, "trajectory_batches", batches)

    source = teacher.denoiser.params
    for stage, shapes in zip(stages, stage_shapes(stages, source), strict=True):
        training = stage.training(source, tmp_path)
        for phase in training.phases:
            frozen = {**training.frozen, "target": shapes}
            batch = phase.batches(0)
            loss, _ = jax.eval_shape(phase.objective, shapes, frozen, batch, jax.random.key(0))
            assert loss.shape == (len(jax.tree.leaves(batch)[0]),)
        source = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


@pytest.mark.slow
@pytest.mark.parametrize("method", GUIDED)
def test_an_untrained_student_is_the_teacher_at_every_guidance_weight(teacher, method):
    _, (stage, *_) = stages_of(smoke(emoji64_distilled, method), teacher)
    params = stage.init(teacher.denoiser.params, jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (2, 8, 8, 1))
    t, cond = jnp.array([0.3, 0.8]), {"label": jnp.array([1, 2], jnp.int32)}
    expected = teacher.denoiser(x, t, cond)
    student = stage.denoiser(params, 3.0)
    read = getattr(student, "function", None)  # a consistency function mixes x0 with x
    found = student if read is None else read.denoiser
    np.testing.assert_allclose(found(x, t, cond).x0, expected.x0, rtol=1e-4, atol=1e-5)


def test_consistency_training_computes_in_its_own_dtype(teacher):
    config = smoke(emoji64_distilled, "consistency_training")
    assert config.method.dtype == "float32"
    source, x = teacher.denoiser.params, jax.random.normal(KEYS, (2, 8, 8, 1))
    cond = {"label": jnp.array([1, 2], jnp.int32)}
    ends = {}
    for dtype in ("", "float32", "bfloat16"):
        config.method.dtype = dtype
        _, (stage,) = stages_of(config, teacher)
        params = stage.init(source, KEYS)
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
        ends[dtype] = np.asarray(stage.denoiser(params, 1.0)(x, jnp.array([0.4, 0.9]), cond).x0)
    np.testing.assert_array_equal(ends[""], ends["float32"])
    rounding = np.abs(ends["bfloat16"] - ends["float32"])
    assert 1e-4 < rounding.max() < 0.1
    config.method.dtype = "bfloat16"
    _, (stage,) = stages_of(config, teacher)
    assert stage.pair.student.network.backbone.dtype == "bfloat16"
    assert stage.pair.teacher.network.backbone.dtype == "float32"
    config.method.dtype = "float8"
    with pytest.raises(UserError, match=r"method\.dtype.*float8.*bfloat16.*float32"):
        stages_of(config, teacher)


@pytest.mark.slow
@pytest.mark.parametrize("method", DRAFT_REFINE)
def test_draft_refine_students_take_the_guidance_weight(teacher, method):
    _, (stage,) = stages_of(smoke(emoji64_distilled, method), teacher)
    params = stage.init(teacher.denoiser.params, jax.random.key(0))
    noise, keys = (
        jax.random.normal(jax.random.key(1), (2, 8, 8, 1)),
        sample_keys(KEYS, np.arange(2)),
    )
    cond = {"label": jnp.array([1, 2], jnp.int32)}
    draw = lambda params, w: stage.method(params, stage.calls[0], w).sampler(noise, keys, cond)
    np.testing.assert_array_equal(draw(params, 3.0), draw(params, 1.0))  # not before training

    def shown(path, leaf):
        return leaf + 0.1 if "guidance" in jax.tree_util.keystr(path) else leaf

    moved = jax.tree_util.tree_map_with_path(shown, params)
    assert jnp.abs(draw(moved, 3.0) - draw(moved, 1.0)).max() > 1e-3
    with pytest.raises(UserError, match=r"guidance = 5\.0: the student was shown .* 1\.0 to 4\.0"):
        draw(params, 5.0)
    with pytest.raises(UserError, match=r"a student of learned.* drafts with its own network"):
        stage.denoiser(params, 1.0)


@pytest.mark.parametrize("method", DRAFT_REFINE)
def test_the_sampler_of_a_guided_student_is_one_program(teacher, method, monkeypatch):
    monkeypatch.setattr(build, "loop", lambda config: COMPILED)
    _, (stage,) = stages_of(smoke(emoji64_distilled, method), teacher)
    (shapes,) = stage_shapes([stage], teacher.denoiser.params)
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    sampler = stage.method(params, stage.calls[0], 3.0).sampler
    cond = {"label": jnp.array([1, 2], jnp.int32)}
    keys = sample_keys(KEYS, np.arange(2))
    lowered = sampler.func.lower(*sampler.args, jnp.zeros((2, 8, 8, 1)), keys, cond)
    assert lowered.out_info.shape == (2, 8, 8, 1)


def test_rows_are_what_was_asked_for(teacher):
    config = smoke(emoji64_distilled, "consistency_distillation")
    config.evaluate.update(calls=(3, 1), guidance=2.0)
    config.evaluate.hybrid.ended_by_student = (2, 3)
    setting, stages = stages_of(config, teacher)
    params = [stages[0].init(teacher.denoiser.params, jax.random.key(0))]
    made = rows(build.evaluate(config), setting, stages, params)
    names = ["consistency-distillation-3", "consistency-distillation-1"]
    names += ["hybrid-2", "hybrid-4", "hybrid-8", "hybrid-3", "hybrid-5"]
    assert [(method.name, stage) for method, stage in made] == [(name, 0) for name in names]
    for method, _ in made:
        assert method.name.endswith(f"-{method.sequential_calls}")
    costs = {method.name: (method.network_evaluations, method.drafts) for method, _ in made}
    assert costs["hybrid-8"] == (17, 3) and costs["hybrid-5"] == (11, 3)
    assert made[-1][0].mode == "hybrid"


def test_a_hybrid_s_relaxation_is_what_the_config_says(teacher):
    config = smoke(emoji64_distilled, "lcm")
    config.evaluate.update(calls=(1,))
    config.evaluate.hybrid.update(rounds=(2,), ended_by_student=())
    noise, keys = jax.random.normal(KEYS, (2, 8, 8, 1)), sample_keys(KEYS, np.arange(2))
    cond, images = {"label": jnp.array([1, 2], jnp.int32)}, []
    for factor in (1.0, 1.5, 2.0):
        config.evaluate.hybrid.relaxation = factor
        setting, stages = stages_of(config, teacher)
        params = [stages[0].init(teacher.denoiser.params, jax.random.key(0))]
        _, (hybrid, _) = rows(build.evaluate(config), setting, stages, params)
        images.append(np.asarray(hybrid.sampler(noise, keys, cond)))
    further = images[1] - images[0]
    assert np.abs(further).max() > 1e-3
    np.testing.assert_allclose(images[2] - images[0], 2 * further, atol=1e-5)


def test_rows_may_have_a_name_of_their_own(teacher):
    config = smoke(emoji64_distilled, "consistency_distillation")
    config.evaluate.update(calls=(3, 1), row="consistency-distillation-short")
    setting, stages = stages_of(config, teacher)
    params = [stages[0].init(teacher.denoiser.params, jax.random.key(0))]
    names = [m.name for m, _ in rows(build.evaluate(config), setting, stages, params)]
    own, hybrid = names[:2], names[2:]
    assert own == ["consistency-distillation-short-3", "consistency-distillation-short-1"]
    assert hybrid == ["hybrid-2", "hybrid-4", "hybrid-8"]
    config.evaluate.row = "mine"
    with pytest.raises(UserError, match=r"evaluate\.row: the name must begin with one of ddim, "):
        build.evaluate(config)


def same(a, b):
    return jax.tree.all(jax.tree.map(lambda x, y: bool(jnp.array_equal(x, y)), a, b))


def test_as_many_rounds_are_drafted_by_the_student_of_as_many_steps(teacher):
    config = smoke(emoji64_distilled, "progressive")
    config.evaluate.hybrid.rounds = (4, 2)
    setting, stages = stages_of(config, teacher)
    params = [stage.init(teacher.denoiser.params, jax.random.key(0)) for stage in stages]
    params = [jax.tree.map(lambda leaf, i=i: leaf + i, p) for i, p in enumerate(params)]
    made = rows(build.evaluate(config), setting, stages, params)
    assert [(m.name, stage) for m, stage in made] == [
        ("progressive-4", 0),
        ("progressive-2", 1),
        ("hybrid-progressive-8", 0),
        ("hybrid-progressive-4", 1),
    ]
    for method, number in made[2:]:
        student, refiner = method.sampler.args[0]
        assert same(student.denoiser.params, params[number])
        assert same(refiner.params, teacher.denoiser.params)
    config.evaluate.hybrid.rounds = (3,)
    with pytest.raises(UserError, match=r"hybrid\.rounds: 3 is not .*; choose among \[4, 2\]"):
        rows(build.evaluate(config), setting, stages, params)


def test_another_network_may_refine_in_the_teacher_s_place(teacher):
    config = smoke(emoji64_distilled, "lcm")
    config.evaluate.hybrid.update(rounds=(2,), ended_by_student=(), refiner="runs/tuned")
    setting, stages = stages_of(config, teacher)
    tuned = jax.tree.map(lambda leaf: leaf + 1, teacher.denoiser.params)
    asked = []
    load = lambda folder: asked.append(folder) or Source(tuned, "a" * 64, 3.0)
    setting = dataclasses.replace(setting, load_refiner=load)
    params = [stages[0].init(teacher.denoiser.params, jax.random.key(0))]
    *_, (hybrid, _) = rows(build.evaluate(config), setting, stages, params)
    _, refiner = hybrid.sampler.args[0]
    assert same(refiner.params, tuned)
    assert set(asked) == {"runs/tuned"}
    spec = build.evaluate(config)
    by = [hybrid_identity(spec, Source(tuned, name, 3.0)) for name in ("a", "b")]
    assert by[0] != by[1] and "runs/tuned" not in by[0].values()
    config.evaluate.hybrid.refiner = ""
    assert hybrid_identity(build.evaluate(config), None).keys() == by[0].keys() - {"refiner"}


def test_a_step_distilled_student_drafts_rounds_that_end_where_its_steps_do(teacher):
    config = smoke(emoji64_distilled, "step")
    config.evaluate.hybrid.rounds = (4,)
    setting, stages = stages_of(config, teacher)
    params = [stages[0].init(teacher.denoiser.params, jax.random.key(0))]
    names = [m.name for m, _ in rows(build.evaluate(config), setting, stages, params)]
    assert names == ["step-distilled-4", "hybrid-step-8"]
    config.evaluate.hybrid.grid = "uniform"
    message = (
        r"hybrid\.grid = 'uniform': 4 rounds end at t = .* 0\.7492, .* and .* 0\.9334, .* \(\)"
    )
    with pytest.raises(UserError, match=message):
        rows(build.evaluate(config), setting, stages, params)
    config.evaluate.hybrid.grid = ""
    config.method.spacing = 0.7
    setting, stages = stages_of(config, teacher)
    ends = stages[0].cut(16)[::4]
    np.testing.assert_allclose(ends, stages[0].nodes(4))
    assert len(rows(build.evaluate(config), setting, stages, params)) == 2


def test_progressive_stages_teach_one_another(teacher, tmp_path):
    _, stages = stages_of(smoke(emoji64_distilled, "progressive"), teacher)
    assert [(stage.name, stage.calls) for stage in stages] == [("stage-4", (4,)), ("stage-2", (2,))]
    first, second = (stage.teacher for stage in stages)
    assert first.model.network is teacher.network and second == stages[0].pair.student
    grid = stages[1].method(teacher.denoiser.params, 2, 1.0)
    assert grid.sequential_calls == 2


def test_trajectories_of_a_guided_teacher_have_a_weight_each(teacher, tmp_path):
    walk = Walk("uniform", 2, 2, (1.0, 4.0))
    made = teacher_trajectories(teacher, walk, tmp_path / "t.npy", 0, 6, 4, "float32")
    rows = made.gather(np.arange(6))
    weights = rows["cond"][KEY]
    assert weights.min() >= 1 and weights.max() <= 4 and len(set(weights)) == 6
    np.testing.assert_array_equal(weights[:3], guidance_weights(1.0, 4.0, 3, 0))
    # The first step is that of the teacher, guided with the trajectory's own weight.
    states = rows["states"][3]
    x, t = jnp.asarray(states[:1]), jnp.full(1, teacher.denoiser.process.t_max)
    cond = {"label": jnp.asarray(rows["cond"]["label"][3:4])}
    p = Guided(teacher.denoiser, jnp.asarray(weights[3]), {"label": jnp.int32(10)})(x, t, cond)
    process, s = teacher.denoiser.process, teacher.denoiser.process.t_max / 2
    expected = process.alpha(s) * p.x0 + process.sigma(s) * p.eps
    np.testing.assert_allclose(states[1], expected[0], rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match=r"have guidance = \[1\.0, 4\.0\], not \[1\.0, 2\.0\]"):
        other = Walk("uniform", 2, 2, (1.0, 2.0))
        teacher_trajectories(teacher, other, tmp_path / "t.npy", 0, 6, 4, "float32")
    with pytest.raises(UserError, match=r"have guidance = \[1\.0, 4\.0\], not None"):
        unguided = Walk("uniform", 2, 2)
        teacher_trajectories(teacher, unguided, tmp_path / "t.npy", 0, 6, 4, "float32")


class Unlabelled(Digits):
    num_classes = 0


def test_a_teacher_that_cannot_be_distilled_is_refused(teacher):
    def refused(message, method, **changes):
        other = dataclasses.replace(teacher, **changes)
        with pytest.raises(UserError, match=message):
            stages_of(smoke(cifar10_distilled, method), other)

    refused(
        r"config\.method\.guidance = .* the data digits has nothing to guide",
        "lcm",
        data=Unlabelled(),
    )
    refused(r"config\.method\.features is missing: .* no classes", "adversarial", data=Unlabelled())
    denoiser = dataclasses.replace(teacher.denoiser, process=PFGMPP())
    refused("the noise of PFGMPP.* is not normal", "progressive", denoiser=denoiser)
