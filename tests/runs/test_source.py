"""A student that starts from another student of the same teacher."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import build
from drf_jax.cli.main import main
from drf_jax.configs import digits, digits_distilled, distilled, emoji64_distilled
from drf_jax.data.digits import Digits
from drf_jax.denoiser import Denoiser
from drf_jax.errors import UserError
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.objectives.guidance import KEY
from drf_jax.runs.distil import load_source, load_stages, stages_of
from drf_jax.runs.distillation.draft_refine import DraftRefineStage
from drf_jax.runs.distillation.stage import Setting
from drf_jax.runs.distillation.step import StepStage
from drf_jax.runs.source import Source, note_source
from drf_jax.runs.teacher import Teacher, load_teacher
from drf_jax.sampling.loops import COMPILED
from drf_jax.training.optimizer import Optimizer
from drf_jax.workdir import ABSENT, read_config

N = 4


@pytest.fixture(autouse=True)
def quick(quick_compile):
    with quick_compile():
        yield


@pytest.fixture(scope="module")
def teacher():
    """A teacher of float64 whose parameters are all random."""
    network = {"name": "dit", "patch": 2, "width": 8, "depth": 1, "heads": 2, "dtype": "float64"}
    config = {"process": {"name": "cosine"}, "output": "v", "network": network}
    data = Digits()
    network = DenoisingNetwork(build.backbone(config, data))
    with jax.enable_x64(True):
        shapes = jax.eval_shape(lambda: build.init_teacher(network, data, jax.random.key(0)))
    denoiser = Denoiser(drawn(shapes, 0), network, build.process(config), build.output(config))
    return Teacher(config, data, network, denoiser, "")


def drawn(shapes, seed):
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        return jax.tree.map(
            lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) / 4, leaf.dtype), shapes
        )


def stage_of(teacher, cls, spec):
    return cls(spec, Setting(teacher, build.Train(1, 8), Optimizer(1e-3), 0, COMPILED))


def sampled(stage, params, noise, cond):
    made = stage.method(params, stage.calls[0], 1.0)
    return made.sampler(noise, jax.random.split(jax.random.key(0), len(noise)), cond), made


@pytest.mark.parametrize("form", ["noise", "data"])
@pytest.mark.parametrize(
    ("method", "rounds", "calls"),
    [(build.DraftRefine, N // 2, N), (build.DraftRefineAggressive, N, N + 1)],
)
def test_with_one_draft_it_takes_the_ddim_steps_of_its_source(teacher, method, rounds, calls, form):
    with jax.enable_x64(True):
        step = stage_of(teacher, StepStage, build.Step(steps=N, trajectories=1, teacher_steps=12))
        source = drawn(jax.eval_shape(step.init, teacher.denoiser.params, jax.random.key(0)), 1)
        spec = method(rounds=rounds, drafts=1, trajectories=1, teacher_steps=12, form=form)
        student = stage_of(teacher, DraftRefineStage, spec)
        noise = jax.random.normal(jax.random.key(1), (2, 8, 8, 1), jnp.float64)
        cond = {"label": jnp.array([3, 10])}
        expected, _ = sampled(step, source, noise, cond)
        init = jax.jit(student.init)
        found, made = sampled(student, init(source, jax.random.key(2)), noise, cond)
        other, _ = sampled(student, init(teacher.denoiser.params, jax.random.key(2)), noise, cond)
    assert made.sequential_calls == calls
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    assert np.abs(other - expected).max() > 1e-2


@pytest.mark.parametrize("form", ["noise", "data"])
def test_what_corrects_the_anchor_s_prediction_starts_as_its_source(teacher, form, float64):
    """As many calls as the step-distilled student's steps, and its very images, whatever the drafts are."""
    step = stage_of(teacher, StepStage, build.Step(steps=N, trajectories=1, teacher_steps=12))
    source = drawn(jax.eval_shape(step.init, teacher.denoiser.params, jax.random.key(0)), 1)
    spec = build.DraftRefineAnchored(
        rounds=N, drafts=2, trajectories=1, teacher_steps=12, form=form, reference="anchor"
    )
    student = stage_of(teacher, DraftRefineStage, spec)
    params = jax.jit(student.init)(source, jax.random.key(2))
    noise = jax.random.normal(jax.random.key(1), (2, 8, 8, 1), jnp.float64)
    cond = {"label": jnp.array([3, 10])}
    expected, _ = sampled(step, source, noise, cond)
    found, made = sampled(student, params, noise, cond)
    assert (made.sequential_calls, made.network_evaluations) == (N, 3 * N)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    moved = jax.tree.map(lambda leaf: leaf + 0.1, params)
    assert np.abs(sampled(student, moved, noise, cond)[0] - expected).max() > 1e-2


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def test_the_guidance_embedding_of_the_source_is_taken_along(teacher, float64):
    config = emoji64_distilled.get_config("method=step,smoke")
    _, (step,) = stages_of(config, teacher)
    source = drawn(jax.eval_shape(step.init, teacher.denoiser.params, jax.random.key(0)), 1)
    assert "guidance" in source["embed"]
    config = emoji64_distilled.get_config("method=draft_refine,smoke")
    _, (student,) = stages_of(config, teacher)
    params = jax.jit(student.init)(source, jax.random.key(0))
    for network in ("drafter", "refiner"):
        jax.tree.map(np.testing.assert_array_equal, params[network]["embed"], source["embed"])
    assert student.pair.guided and KEY in source["embed"]
    config.method.guidance = (1.0, 1.0)
    _, (student,) = stages_of(config, teacher)
    with pytest.raises(UserError, match=r"embed/guidance/kernel is .* there and absent here"):
        jax.eval_shape(student.init, source, jax.random.key(0))


def test_a_run_goes_on_from_what_it_was_started_from(tmp_path):
    source = Source({}, "a" * 64, 3.0)
    note_source(tmp_path, source)
    note_source(tmp_path, source)
    with pytest.raises(
        UserError, match=r"other parameters of config\.method\.source: .* aaaaaaaaaaaa… "
    ):
        note_source(tmp_path, Source({}, "b" * 64, 3.0))


def test_a_run_of_before_is_built_as_what_it_was():
    spec = build.DraftRefine(rounds=1, drafts=1, trajectories=1)
    absent = {key.partition(".")[::2]: value for key, value in ABSENT.items()}
    absent = {key: value for (section, key), value in absent.items() if section == "method"}
    assert absent and {key: getattr(spec, key) for key in absent} == absent


def test_a_config_has_all_keys_of_the_design_and_they_are_built():
    spec = build.DraftRefine(rounds=1, drafts=1, trajectories=1, **distilled.DESIGN)
    assert {key: getattr(spec, key) for key in distilled.DESIGN} == distilled.DESIGN
    for module in (digits_distilled, emoji64_distilled):
        made = module.get_config("method=draft_refine").method
        assert {key for key in ABSENT if key.startswith("method.")} <= {f"method.{k}" for k in made}


TINY = ["--config.network.width=16", "--config.network.depth=1", "--config.network.heads=2"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, quick_compile):
    """A teacher and its step-distilled student, and another teacher."""
    folder = tmp_path_factory.mktemp("source")
    with quick_compile():
        for name, seed in (("teacher", 0), ("other", 1)):
            argv = ["--config", f"{digits.__file__}:smoke", *TINY, f"--config.seed={seed}"]
            steps = ["--config.train.steps=2", "--config.optimizer.warmup=1"]
            assert main(["train", *argv, *steps, "--workdir", str(folder / name)]) == 0
        assert main(["train", *words("step", folder, "teacher", folder / "step")]) == 0
    return folder


def words(method, folder, teacher, workdir, *more):
    config = f"{digits_distilled.__file__}:method={method},smoke"
    own = [f"--config.teacher={folder / teacher}", "--workdir", str(workdir)]
    return ["--config", config, *own, *more]


def seconds(workdir):
    return json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])["seconds"]


@pytest.mark.slow
def test_a_run_that_starts_from_a_step_distilled_student(runs):
    workdir = runs / "started"
    more = [f"--config.method.source={runs / 'step'}", "--config.train.steps=2"]
    argv = words("draft_refine", runs, "teacher", workdir, *more)
    teacher = load_teacher(runs / "teacher")
    _, _, [step] = load_stages(read_config(runs / "step"), runs / "step", teacher)
    source = load_source(str(runs / "step"), teacher)
    jax.tree.map(np.testing.assert_array_equal, source.params, step)
    assert source.train_seconds == seconds(runs / "step") > 0
    assert main(["train", *argv]) == 0
    short = ["--config.evaluate.samples=8", "--config.evaluate.batch_size=8"]
    assert main(["evaluate", *argv, *short]) == 0
    [row] = json.loads((workdir / "results.json").read_text())["rows"]
    np.testing.assert_allclose(row["train_seconds"], seconds(workdir) + seconds(runs / "step"))
    # Two updates with a learning rate of 1e-3 at most.
    _, _, [params] = load_stages(read_config(workdir), workdir, teacher)
    near = lambda a, b: np.testing.assert_allclose(a, b, atol=4e-3)
    jax.tree.map(near, params["drafter"]["trunk"], step["trunk"])
    apart = lambda a, b: np.abs(a - b).max()
    assert (
        apart(
            step["trunk"]["patches"]["kernel"],
            teacher.denoiser.params["trunk"]["patches"]["kernel"],
        )
        > 0
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("teacher", "source", "message"),
    [
        ("other", "step", "step was distilled from another teacher: its parameters had SHA-256"),
        ("teacher", "none", "no run in .*none"),
        ("teacher", "teacher", "config.task is 'teacher', and 'distill' is needed here"),
        (
            "teacher",
            "drafts",
            "a run of draft_refine has no denoising network; choose a run of step",
        ),
    ],
)
def test_what_cannot_be_started_from_is_one_line(runs, tmp_path, capsys, teacher, source, message):
    (runs / "drafts").mkdir(exist_ok=True)
    config = digits_distilled.get_config("method=draft_refine,smoke")
    (runs / "drafts" / "config.json").write_text(json.dumps(config.to_dict()))
    more = f"--config.method.source={runs / source}"
    capsys.readouterr()
    assert main(["train", *words("draft_refine", runs, teacher, tmp_path / "new", more)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"drf: config.method.source = '{runs / source}'")
    assert re.search(message, line), line


@pytest.mark.slow
def test_a_source_that_has_changed_since_the_run_was_started_is_refused(runs, tmp_path):
    teacher, folder = load_teacher(runs / "teacher"), str(runs / "step")
    config = digits_distilled.get_config("method=draft_refine,smoke")
    setting, _ = stages_of(config, teacher, workdir=tmp_path)
    source = load_source(folder, teacher)
    equal = np.testing.assert_array_equal
    jax.tree.map(equal, setting.start(folder), source.params)
    jax.tree.map(equal, setting.start(""), teacher.denoiser.params)
    note_source(tmp_path, Source({}, "a" * 64, 3.0))
    setting, _ = stages_of(config, teacher, workdir=tmp_path)
    with pytest.raises(UserError, match=f"aaaaaaaaaaaa… and have {source.sha256[:12]}…; use"):
        setting.start(folder)


@pytest.mark.slow
def test_a_hybrid_whose_refiner_was_trained_on(runs):
    tuned, workdir = runs / "tuned", runs / "drafter"
    assert main(["train", *words("pfgmpp", runs, "teacher", tuned)]) == 0
    plain = words("lcm", runs, "teacher", workdir, "--config.evaluate.hybrid.rounds=(2,)")
    refined = [*plain, f"--config.evaluate.hybrid.refiner={tuned}"]
    short = ["--config.evaluate.samples=8", "--config.evaluate.batch_size=8"]
    assert main(["train", *refined]) == 0
    found = []
    for argv in (refined, plain):
        assert main(["evaluate", *argv, *short]) == 0
        rows = json.loads((workdir / "results.json").read_text())["rows"]
        found += [row for row in rows if row["method"] == "hybrid-lcm-4"]
    both = seconds(workdir) + seconds(tuned)
    np.testing.assert_allclose([row["train_seconds"] for row in found], [both, seconds(workdir)])
    assert found[0]["rmse_to_teacher"] != found[1]["rmse_to_teacher"]


@pytest.mark.slow
def test_what_cannot_refine_is_one_line(runs, tmp_path, capsys):
    more = f"--config.evaluate.hybrid.refiner={runs / 'step'}"
    assert main(["train", *words("lcm", runs, "teacher", tmp_path / "new", more)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line == (
        f"drf: config.evaluate.hybrid.refiner = '{runs / 'step'}': the network of a run of step is not the teacher's;"
        " choose a run of pfgmpp"
    )
    assert not (tmp_path / "new").exists()
