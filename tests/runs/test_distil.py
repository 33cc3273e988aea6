"""Every way to distil, from the words of the command line to the rows, on a teacher that has hardly been trained."""

import contextlib
import itertools
import json
import re
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from drf_jax.cli.config_file import load_config
from drf_jax.cli.main import main
from drf_jax.configs import digits, digits_distilled
from drf_jax.errors import UserError
from drf_jax.networks.lora_file import load_lora
from drf_jax.runs import distil
from drf_jax.runs.distillation import stage
from drf_jax.runs.evaluate import evaluate
from drf_jax.runs.teacher import load_teacher

ROWS = {
    "draft_refine": ["learned-4"],
    "draft_refine_aggressive": ["learned-aggressive-3"],
    "step": ["step-distilled-4"],
    "progressive": ["progressive-4", "progressive-2", "hybrid-progressive-4"],
    "consistency_distillation": [
        *(f"consistency-distillation-{calls}" for calls in (4, 2, 1)),
        "hybrid-8",
        "hybrid-4",
        "hybrid-2",
    ],
    "consistency_training": [f"consistency-training-{calls}" for calls in (4, 2, 1)],
    "lcm": [
        *(f"lcm-{calls}" for calls in (4, 2, 1)),
        *(f"hybrid-lcm-{calls}" for calls in (8, 4, 2)),
    ],
    "lcm_lora": [f"lcm-lora-{calls}" for calls in (4, 2, 1)],
    "adversarial": [f"adversarial-{calls}" for calls in (4, 2, 1)],
    "pfgmpp": [f"pfgmpp-{calls}" for calls in (8, 4, 2)],
}
TINY = ["--config.network.width=16", "--config.network.depth=1", "--config.network.heads=2"]
SHORT = ["--config.evaluate.samples=16", "--config.evaluate.batch_size=16"]


@pytest.fixture(autouse=True)
def quick(quick_compile):
    with quick_compile():
        yield


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, quick_compile):
    """A teacher's run, with the feature network of its evaluation."""
    workdir = tmp_path_factory.mktemp("distil") / "teacher"
    config = ["--config", f"{digits.__file__}:smoke", *TINY, "--workdir", str(workdir)]
    steps = ["--config.train.steps=2", "--config.optimizer.warmup=1"]
    with quick_compile():
        assert main(["train", *config, *steps]) == 0
        features = ["features", "train", "--config", digits.__file__, "--steps=2"]
        assert main([*features, "--out", str(workdir / "features.npz")]) == 0
    return workdir


def words(method, teacher, *more):
    """Words of a command on a run of that method."""
    config = f"{digits_distilled.__file__}:method={method},smoke"
    features = f"--config.evaluate.features={teacher / 'features.npz'}"
    return ["--config", config, f"--config.teacher={teacher}", *SHORT, features, *more]


COMPILED = {}


@contextlib.contextmanager
def steps_of(method):
    """A method's run compiles its steps, in their order; another run of it takes the same programs."""
    count = itertools.count()

    def jit_step(*args, original=distil.jit_step):
        key = method, next(count)
        if key not in COMPILED:
            COMPILED[key] = original(*args)
        return COMPILED[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distil, "jit_step", jit_step)
        yield patch


@pytest.fixture(scope="module")
def trained(teacher):
    """``trained(method)``: the folder of a finished run."""
    done = {}

    def run(method):
        if method not in done:
            done[method] = teacher.parent / method
            argv = words(method, teacher, "--workdir", str(done[method]))
            with steps_of(method):
                assert main(["train", *argv]) == 0
        return done[method]

    return run


def stored(folder, step=4):
    """A checkpoint: every leaf of the training state by its path."""
    with ocp.StandardCheckpointer() as reader:
        tree = reader.restore(folder / "checkpoints" / str(step) / "default")
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def rows(workdir):
    return json.loads((workdir / "results.json").read_text())["rows"]


@pytest.mark.parametrize(
    "method",
    ["draft_refine", *(pytest.param(name, marks=pytest.mark.slow) for name in list(ROWS)[1:])],
)
def test_a_run_trains_and_gives_its_rows(trained, teacher, method):
    workdir = trained(method)
    assert main(["evaluate", *words(method, teacher, "--workdir", str(workdir))]) == 0
    found = rows(workdir)
    assert [row["method"] for row in found] == ROWS[method]
    own = load_teacher(teacher).denoiser.params
    size = sum(leaf.size for leaf in jax.tree.leaves(own))
    for row in found:
        assert row["method"].endswith(f"-{row['sequential_calls']}")
        assert row["fd"] > 0 and row["rmse_to_teacher"] > 0 and row["train_seconds"] > 0
        if row["method"].startswith("learned"):
            assert row["params"] > size
        else:
            # The network, an input for the guidance weight where it has one, and a hybrid's teacher.
            parts = row["method"].split("-")
            assert row["params"] == size * (1 + ("hybrid" in parts)) + 256 * 16 * ("lcm" in parts)
        assert (row["drafts"] > 1) == (row["network_evaluations"] > row["sequential_calls"])


@pytest.mark.slow
def test_rows_of_a_later_stage_include_the_training_of_those_before(trained, teacher):
    workdir = trained("progressive")
    assert main(["evaluate", *words("progressive", teacher, "--workdir", str(workdir))]) == 0
    first, second = (
        json.loads((workdir / f"stage-{n}" / "metrics.jsonl").read_text().splitlines()[-1])
        for n in (4, 2)
    )
    found = [row["train_seconds"] for row in rows(workdir)]
    both = first["seconds"] + second["seconds"]
    np.testing.assert_allclose(found, [first["seconds"], both, both])  # the last of the hybrid


@pytest.mark.slow
def test_one_table_has_the_teacher_and_its_students(trained, teacher, tmp_path):
    config = load_config(f"{digits.__file__}:smoke")
    config.network.update(width=16, depth=1, heads=2)
    config.optimizer.warmup, config.train.steps = 1, 2
    config.evaluate.methods = {"ddim-4": {"name": "serial", "steps": 4}}
    students = [str(trained(method)) for method in ("step", "progressive")]
    config.evaluate.update(samples=16, batch_size=16, repeats=1, students=tuple(students))
    found = [row["method"] for row in evaluate(config, teacher, "")]
    own, hybrids = ROWS["progressive"][:2], ROWS["progressive"][2:]
    assert found == ["ddim-4", *own, *ROWS["step"], *hybrids]
    config.evaluate.students = (students[0], str(shutil.copytree(students[0], tmp_path / "again")))
    with pytest.raises(UserError, match="again: another method is already called step-distilled-4"):
        evaluate(config, teacher, "")


@pytest.mark.slow
def test_other_calls_and_guidance_may_be_asked_for_after_training(trained, teacher, tmp_path):
    workdir = shutil.copytree(trained("lcm"), tmp_path / "lcm")
    argv = words("lcm", teacher, "--workdir", str(workdir), "--config.evaluate.calls=(3,)")
    argv += ["--config.evaluate.hybrid.rounds=()"]
    assert main(["evaluate", *argv]) == 0
    [plain] = rows(workdir)
    assert main(["evaluate", *argv, "--config.evaluate.guidance=2.5"]) == 0
    [guided] = rows(workdir)
    assert plain["method"] == guided["method"] == "lcm-3"
    assert guided["rmse_to_teacher"] != plain["rmse_to_teacher"]
    out = workdir / "grid.png"
    assert main(["sample", *argv, "--count=4", f"--out={out}"]) == 0
    assert out.stat().st_size > 100


@pytest.mark.slow
def test_deltas_alone_are_trained_and_stored(trained, teacher):
    state = stored(trained("lcm_lora"))
    names = {name for name in state if name.startswith("['ema']")}
    assert names and all(name.endswith(("['a']", "['b']")) for name in names)
    lora, scale = load_lora(trained("lcm_lora") / "lora.npz")
    assert scale == 1.0 and len(jax.tree.leaves(lora)) == len(names)
    np.testing.assert_array_equal(
        lora["head"]["out"]["kernel"]["b"], state["['ema']['head']['out']['kernel']['b']"]
    )


@pytest.mark.slow
def test_a_low_rank_student_of_shared_trunks_trains_and_gives_its_row(teacher, tmp_path):
    more = ["drafter=target", "share=trunk", "lora_rank=2", "cross_draft=attention"]
    argv = words("draft_refine", teacher, "--workdir", str(tmp_path))
    argv += [f"--config.method.{key}" for key in more]
    assert main(["train", *argv]) == 0
    assert main(["evaluate", *argv]) == 0
    [row] = rows(tmp_path)
    assert (row["sequential_calls"], row["network_evaluations"], row["drafts"]) == (4, 8, 2)
    state = stored(tmp_path)
    names = {name for name in state if name.startswith("['ema']")}
    kernel = "['shared']['trunk']['block_0']['mlp_in']['kernel']"
    assert {f"['ema']['lora']{kernel}['a']", f"['ema']['lora']{kernel}['b']"} < names
    own = load_teacher(teacher).denoiser.params
    size = sum(leaf.size for leaf in jax.tree.leaves(own))
    trained = sum(state[name].size for name in names)
    assert size < row["params"] < 2 * size and trained < row["params"]


@pytest.mark.parametrize(
    ("method", "last", "dies_in"),
    [("progressive", "stage-2", 1), pytest.param("adversarial", "", 0, marks=pytest.mark.slow)],
)
def test_killed_and_resumed_is_the_uninterrupted_run(
    trained, teacher, tmp_path, method, last, dies_in
):
    whole, asked = stored(trained(method) / last), []

    def dies(*args, original=stage.example_batches):
        asked.append(args)
        batches, number = original(*args), len(asked) - 1

        def batch(i):
            if number == dies_in and i == 3:
                raise RuntimeError("power cut")
            return batches(i)

        return batch

    argv = ["train", *words(method, teacher, "--workdir", str(tmp_path))]
    with steps_of(method) as patch, pytest.raises(RuntimeError, match="power cut"):
        patch.setattr(stage, "example_batches", dies)
        main(argv)
    saved = (tmp_path / last / "checkpoints").iterdir()
    assert [p.name for p in saved] == ["2"]
    with steps_of(method):
        assert main(argv) == 0
    ours = stored(tmp_path / last)
    assert ours.keys() == whole.keys() and len(ours) > 50
    for name in whole:
        np.testing.assert_array_equal(ours[name], whole[name], err_msg=name)


@pytest.mark.parametrize(
    ("method", "flag", "message"),
    [
        ("step", "method.name=stepp", r"config\.method\.name = 'stepp': choose one of adversarial"),
        ("step", "method.steps=5", r"config\.method\.steps = 5: must divide teacher_steps = 48"),
        ("lcm", "method.stride=49", r"config\.method: stride = 49: choose 1 to 48"),
        ("lcm", "method.guidance=(3.0,1.0)", r"config\.method\.guidance = .*: must be a range"),
        ("lcm", "evaluate.guidance=4.0", r"guidance = 4\.0: the student was shown .* 1\.0 to 3\.0"),
        (
            "step",
            "evaluate.guidance=2.0",
            r"guidance = 2\.0: this student was not trained to take a weight",
        ),
        (
            "step",
            "evaluate.calls=(8,)",
            r"evaluate\.calls: 8 is not possible .*; choose among \[4\]",
        ),
        (
            "progressive",
            "method.start=6",
            r"config\.method: progressive distillation from 6 to 2 steps: choose 2 ",
        ),
        ("adversarial", "method.features=none.npz", r"none\.npz does not exist"),
        (
            "consistency_training",
            "method.proposal=normal",
            r"method\.proposal = 'normal': choose one of log_normal, uniform",
        ),
        (
            "consistency_distillation",
            "evaluate.hybrid.rounds=(2,0)",
            r"config\.evaluate\.hybrid\.rounds = \(2, 0\): must be numbers of at least 1",
        ),
        (
            "consistency_distillation",
            "evaluate.hybrid.relaxation=0.0",
            r"config\.evaluate\.hybrid\.relaxation = 0\.0: must be above 0, and below 10; 1 is none",
        ),
        (
            "consistency_distillation",
            "evaluate.hybrid.ended_by_student=(1,2)",
            r"config\.evaluate\.hybrid\.ended_by_student = \(1, 2\): must be numbers of at least 2",
        ),
    ],
)
def test_mistakes_are_one_line(teacher, tmp_path, capsys, method, flag, message):
    argv = words(method, teacher, "--workdir", str(tmp_path / "run"), f"--config.{flag}")
    assert main(["train", *argv]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("drf: ")
    assert re.search(message, line), line


def test_another_teacher_is_refused(trained, teacher, tmp_path, capsys):
    workdir = shutil.copytree(trained("lcm"), tmp_path / "lcm")
    (workdir / "teacher.json").write_text(json.dumps({"sha256": 64 * "0"}))
    capsys.readouterr()
    for command in ("train", "evaluate"):
        assert main([command, *words("lcm", teacher, "--workdir", str(workdir))]) == 2
        assert "was distilled from another teacher" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "method, row, own",
    [
        (
            "draft_refine_aggressive",
            "learned-aggressive-3",
            {"draft": 0.3, "refine": 0.7, "end": 4},
        ),
        ("step", "step-distilled-4", {}),
    ],
)
def test_the_classifier_of_a_perceptual_loss_does_not_judge(
    method, row, own, teacher, tmp_path, capsys
):
    weights = own | {"perceptual": 0.5, "high_frequency": 0.1, "adversarial": 0.2}
    more = [f"--config.method.{name}_weight={weight}" for name, weight in weights.items()]
    argv = words(method, teacher, "--workdir", str(tmp_path), *more)
    assert main(["train", *argv]) == 0
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    if own:
        whole = sum(weight * last[name] for name, weight in weights.items())
        whole += last["discriminator"]
        np.testing.assert_allclose(last["loss"], whole, rtol=1e-5)
    assert last["perceptual"] > 0 and last["high_frequency"] > 0
    capsys.readouterr()
    own = f"--config.evaluate.features={tmp_path / 'perceptual.npz'}"
    assert main(["evaluate", *argv, own]) == 2
    assert f"{row}: its training looked through the feature network" in capsys.readouterr().err


@pytest.mark.slow
def test_nor_does_that_of_a_consistency_functions_distance(teacher, tmp_path, capsys):
    argv = words("consistency_distillation", teacher, "--workdir", str(tmp_path))
    argv.append("--config.method.perceptual_weight=0.5")
    assert main(["train", *argv]) == 0
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["perceptual"] > 0
    capsys.readouterr()
    own = f"--config.evaluate.features={tmp_path / 'perceptual.npz'}"
    assert main(["evaluate", *argv, own]) == 2
    assert "its training looked through the feature network" in capsys.readouterr().err


@pytest.mark.slow
def test_an_adversary_does_not_judge_its_own_work(trained, teacher, capsys):
    workdir = trained("adversarial")
    own = f"--config.evaluate.features={workdir / 'adversary.npz'}"
    capsys.readouterr()
    argv = words("adversarial", teacher, "--workdir", str(workdir), own)
    assert main(["evaluate", *argv]) == 2
    assert "adversarial-1: its training looked through the feature network" in (
        capsys.readouterr().err
    )


def test_stages_after_the_first_share_a_program(teacher, tmp_path):
    made = []

    def jit_step(*args, original=distil.jit_step):
        made.append(original(*args))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distil, "jit_step", jit_step)
        changes = (
            "--config.method.start=16",
            "--config.train.steps=2",
            "--config.evaluate.calls=(2,)",
        )
        argv = words("progressive", teacher, "--workdir", str(tmp_path / "run"), *changes)
        assert main(["train", *argv]) == 0
    assert (tmp_path / "run" / "stage-2" / "checkpoints" / "2").exists()
    assert [step._cache_size() for step in made] == [1, 1]
