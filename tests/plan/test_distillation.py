"""Plans of runs that distil: the same programs, with the same arguments, as the runs themselves."""

import json

import jax
import jax.numpy as jnp
import pytest

from drf_jax import build
from drf_jax.cli.main import main
from drf_jax.configs import digits, digits_distilled
from drf_jax.data.digits import Digits
from drf_jax.denoiser import Denoiser
from drf_jax.errors import UserError
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.plan.programs import programs
from drf_jax.runs.distil import stage_shapes, stages_of
from drf_jax.runs.teacher import Teacher
from drf_jax.sharding import make_mesh

DATA = Digits()


def tiny_teacher():
    config = digits.get_config("smoke")
    config.network.update(width=16, depth=1, heads=2)
    return config


def student(method, **changes):
    config = digits_distilled.get_config(f"method={method},smoke")
    config.train.batch_size = 8
    config.method.update(changes)
    return config


def planned(method, name="train", row="", mesh=(1, 1, 1), **changes):
    devices = jax.devices()[: mesh[0] * mesh[1] * mesh[2]]
    mesh = make_mesh(*mesh, devices=devices)
    return programs(student(method, **changes), DATA, mesh, tiny_teacher(), row)[name]


def shapes(tree):
    return jax.tree.map(lambda leaf: (tuple(leaf.shape), str(leaf.dtype)), tree)


@pytest.fixture(scope="module")
def teacher():
    config = tiny_teacher()
    network = DenoisingNetwork(build.backbone(config, DATA))
    params = build.init_teacher(network, DATA, jax.random.key(0))
    denoiser = Denoiser(params, network, build.process(config), build.output(config))
    return Teacher(config, DATA, network, denoiser, "0" * 64)


@pytest.mark.slow
@pytest.mark.parametrize("method", list(build.METHODS))
def test_an_update_takes_what_the_runs_takes(teacher, method, tmp_path):
    """Parameters, frozen parameters and batch of every stage and phase, and of the run's own size."""
    config = student(method)
    _, stages = stages_of(config, teacher)
    trained = stage_shapes(stages, teacher.denoiser.params)
    source = teacher.denoiser.params
    for stage, params in zip(stages, trained, strict=True):
        training = stage.training(source, tmp_path)
        for phase, name in zip(training.phases, ("train", "on_policy"), strict=False):
            program = planned(method, stage.name or name)()
            batch = phase.batches(0)
            (state, frozen, given, _), _ = program.lower(program.batch).args_info
            assert program.batch == len(jax.tree.leaves(batch)[0])
            assert shapes(given) == shapes(batch)
            assert shapes(state.params) == shapes(params)
            assert shapes(frozen) == shapes(training.frozen)
        source = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), params)


def test_the_design_of_a_draft_refine_student_is_planned(teacher):
    options = {
        "source": "a run that need not be there",
        "drafter": "target",
        "share": "trunk",
        "lora_rank": 2,
        "cross_draft": "attention",
        "perceptual_weight": 0.1,
    }
    config = student("draft_refine", **{**options, "source": ""})
    _, (stage,) = stages_of(config, teacher)
    [trained] = stage_shapes([stage], teacher.denoiser.params)
    assert set(trained) == {"lora", "own"}
    program = planned("draft_refine", **options)()
    (state, frozen, _, _), _ = program.lower(program.batch).args_info
    assert shapes(state.params) == shapes(trained)
    base = jax.eval_shape(stage.base, teacher.denoiser.params)
    assert set(frozen) == {"base", "features"} and shapes(frozen["base"]) == shapes(base)
    sample = planned("draft_refine", "sample", **options)().lower(2)
    assert sample.out_info.shape == (2, *DATA.image_shape)


def test_the_first_stage_is_what_train_means():
    assert planned("progressive")().name == planned("progressive", "stage-4")().name == "stage-4"


def test_the_batch_is_a_multiple_of_the_devices_that_split_it(quick_compile):
    program = planned("step", "on_policy", mesh=(2, 2, 1))()
    assert program.unit == 4
    (_, _, batch, _), _ = program.lower(12).args_info
    assert batch["states"].shape == (12, 5, 8, 8, 1)


@pytest.mark.parametrize(
    "method, row",
    [
        ("step", ""),
        ("progressive", "progressive-2"),
        ("consistency_distillation", "hybrid-2"),
        ("lcm_lora", "lcm-lora-2"),
        ("adversarial", "adversarial-1"),
    ],
)
def test_a_row_of_the_student_is_sampled(method, row):
    program = planned(method, "sample", row, mesh=(2, 1, 1))()
    lowered = program.lower(4)
    assert lowered.out_info.shape == (4, *DATA.image_shape)


def test_unknown_rows_are_refused_with_those_there_are():
    with pytest.raises(UserError, match="--method lcm-3: choose one of lcm-1, lcm-2, lcm-4"):
        planned("lcm", "sample", "lcm-3")().lower(1)


def test_drf_plan_prints_a_distilled_students_update(tmp_path, capsys, quick_compile):
    config = """
from drf_jax.configs import {name}
def get_config(arg=""):
    config = {name}.get_config("{arg}")
    {more}
    return config
"""
    tiny = "config.network.update(width=16, depth=1, heads=2)"
    files = {
        "teacher": ("digits", "smoke", tiny),
        "student": ("digits_distilled", "method=lcm,smoke", ""),
    }
    for file, (name, arg, more) in files.items():
        (tmp_path / f"{file}.py").write_text(config.format(name=name, arg=arg, more=more))
    argv = [
        f"--config={tmp_path}/student.py",
        f"--teacher={tmp_path}/teacher.py",
        "--topology=cpu:2",
    ]
    with quick_compile():
        assert main(["plan", *argv, "--nosearch", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["program"] == "train" and found["batch"] == 8 and found["flops"] > 0
    assert "all-reduce" in {c["kind"] for c in found["collectives"]}
