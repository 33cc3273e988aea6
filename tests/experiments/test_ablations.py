"""The list of ablations: what is changed, what is trained and what a row says of it."""

import dataclasses
import json
import sys
from types import SimpleNamespace

import pytest

from drf_jax.cli.config_file import load_config
from drf_jax.config import changed
from drf_jax.errors import UserError
from drf_jax.evaluation.report import row
from drf_jax.workdir import flatten

DATA = ("digits", "fashion_mnist32", "emoji64", "cifar10")
MODES = ("aggressive", "anchored")
REPETITIONS = {"form=noise", "drafts=2", "aggressive+drafts=2", "anchored+drafts=1"}
"""Of the configs' own values."""
ON_POLICY = ("fashion_mnist32", "emoji64")
"""Whose draft–refine students are trained on-policy from the first update."""


@pytest.fixture(scope="module")
def ablations(experiment):
    return experiment("ablations")


@pytest.fixture
def options(ablations, tmp_path):
    return ablations.AblationOptions(
        data="digits", seconds=2.0, smoke=True, out=tmp_path, runs=tmp_path / "r"
    )


@pytest.mark.parametrize("data", DATA)
def test_every_ablation_is_one_change_of_a_student_of_the_same_depth(ablations, options, data):
    listed = sys.modules["ablation_list"]
    o = dataclasses.replace(options, data=data, smoke=False)
    found = ablations.ablations(o, 4)
    method = load_config(o.spec("distilled", "method=step")).method
    repeated = f"grid={method.grid}", f"spacing={method.spacing:g}"
    own = lambda name: (data in ON_POLICY and "on-policy" in name) or name.endswith(repeated)
    assert set(listed.ABLATIONS) - found.keys() == REPETITIONS | set(filter(own, listed.ABLATIONS))
    whole = lambda student: changed(load_config(student.spec), student.changes)
    configs = {name: flatten(whole(student)) for name, student in found.items()}
    for name, config in configs.items():
        default = configs[next((m for m in (*MODES, "step") if name.startswith(m)), "learned")]
        differ = {key for key in config if config[key] != default.get(key)}
        if name == "step":
            assert config["method.steps"] == 4
            continue
        changed_keys = {k for k, v in found[name].changes.items() if default.get(k) != v}
        assert differ - {"method.features"} == changed_keys - {"method.features"}
        changes = len(differ - {"method.features"}) + (found[name].source is not None)
        same = {"on_policy_after=0"} if not default["method.on_policy_after"] else set()
        assert changes == len(set(name.split("+")) - {"learned", "step", *MODES} - same)


def test_tables_and_runs_of_other_calls_and_seeds_are_beside_each_other(ablations, tmp_path):
    flags = dict.fromkeys(
        ("arg", "data_dir", "teacher", "runs", "only", "again", "smoke", "published"), ""
    )
    flags |= dict.fromkeys(("samples", "seed", "updates", "teacher_seconds", "deadline"), 0)
    flags |= {"data": "digits", "seconds": None, "out": str(tmp_path), "teacher_updates": 0}
    given = SimpleNamespace(**flags, jobs=1, accelerators=1, timing=True, judge="")

    def made(calls, seed=0, runs=""):
        given.seed, given.runs = seed, runs
        o = ablations.options_of(given, ablations.AblationOptions, calls=calls)
        assert o.adversary.parent == o.runs
        return o.file, o.runs

    assert made(4) == ("digits.json", tmp_path / "runs")
    assert made(2) == ("digits_calls2.json", tmp_path / "runs_calls2")
    assert made(4, seed=1) == ("digits_seed1.json", tmp_path / "runs_seed1")
    assert made(2, 1) == ("digits_calls2_seed1.json", tmp_path / "runs_calls2_seed1")
    assert made(2, 1, str(tmp_path / "mine"))[1] == tmp_path / "mine"


def test_rates_and_batches_are_those_of_the_config_times_a_factor(ablations, options):
    o = dataclasses.replace(options, data="fashion_mnist32", smoke=False)
    found = ablations.ablations(o, 4)
    rates = {
        name: found[name].changes["optimizer.learning_rate"] for name in found if "_rate" in name
    }
    assert rates["step+quarter_rate"] == rates["double_rate"] / 2 == 5e-5
    assert rates["anchored+double_rate"] == 1e-4
    assert found["double_batch"].changes == {"train.batch_size": 1024}


def test_any_changes_may_be_asked_for_together(ablations, options):
    o = dataclasses.replace(options, data="emoji64", smoke=False)
    name = "double_rate+grid=shifted:4+perceptual_weight=2+drafts=3"
    student = ablations.ablations(o, 2, ["learned", name])[name]
    config = changed(load_config(student.spec), student.changes)["method"]
    default = load_config(student.spec)
    kept = {"grid": "shifted:4", "perceptual_weight": 2.0, "drafts": 3, "rounds": 1}
    assert config | kept == config and config["features"] == str(o.adversary)
    assert student.changes["optimizer.learning_rate"] == 2 * default.optimizer.learning_rate


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("step+drafts=2", "drafts=2 is no change; choose among .*spacing"),
        ("learned+fast", "fast is no change; choose among quarter_rate"),
        ("drafts=two", "'two' is no int"),
        ("drafts=2.5", "'2.5' is no int"),
        ("double_rate+half_rate", "says config.optimizer.learning_rate twice"),
        ("grid=shifted", "shifted takes a positive number"),
        ("drafts=40", "the teacher's walk has 48"),
    ],
)
def test_changes_that_say_nothing_are_refused(ablations, options, name, message):
    with pytest.raises(UserError, match=message):
        ablations.ablations(dataclasses.replace(options, smoke=False), 4, [name])


def test_what_is_not_possible_is_left_out(ablations, options):
    o = dataclasses.replace(options, smoke=False)
    found = ablations.ablations(o, 8)
    assert "drafts=12" not in found and "aggressive+drafts=12" not in found
    assert {"drafts=8", "aggressive+drafts=2"} & found.keys() == {"drafts=8"}
    assert not [name for name in ablations.ablations(o, 5) if name.startswith("drafts")]


def test_rows_of_one_method_stay_apart_and_in_order(ablations, options):
    made = ablations.Table(options, ablations.in_order)
    for name in ("drafts=8+half_rate", "drafts=8", "learned"):
        made.rows[name] = row(method="learned-4", sequential_calls=4, fd=2.0, ablation=name)
    made.save()
    again = ablations.Table(options, ablations.in_order)
    assert list(again.rows) == ["learned", "drafts=8", "drafts=8+half_rate"]
    with pytest.raises(UserError, match=r"--calls=4, not 2; use another --out"):
        other = dataclasses.replace(options, calls=2)
        path = options.out / other.file
        path.write_bytes(made.path.read_bytes())
        ablations.Table(other)
    command = "python experiments/ablations.py --data=digits --seconds=2 --calls=4 --smoke"
    assert made.command_of("learned") == f"{command} --only=learned"


def test_a_source_is_trained_first_and_both_have_half_of_the_seconds(
    ablations, options, monkeypatch
):
    loop, trained, scored = sys.modules["rival_loop"], [], []

    def train(o, made, name, spec, changes, workdir, seconds, updates):
        trained.append((name, changes.get("method.source"), seconds))

    monkeypatch.setattr(loop, "train", train)
    monkeypatch.setattr(loop, "score", lambda *args: scored.append(args[-1]))
    students = ablations.ablations(options, 4)
    made = ablations.Table(options, ablations.in_order)
    for name in ("source=step", "learned"):
        facts = {"ablation": name}
        loop.make_student(options, made, options.runs, name, students[name], facts)
    folder = str(options.runs / "source=step-source")
    assert sorted(trained) == [
        ("learned", None, 2.0),
        ("source=step", folder, 1.0),
        ("source=step-source", None, 1.0),
    ]
    assert scored == [{"ablation": "source=step"}, {"ablation": "learned"}]


@pytest.mark.slow
def test_a_smoke_run_has_a_row_of_every_change_that_was_asked_for(ablations, options, tmp_path):
    names = ("source=step", "lora_rank=8")
    options = dataclasses.replace(options, only=names)
    assert ablations.main(options, to_publish=False) == 0
    ablations.publish(ablations.Table(options), tmp_path / "root")
    found = json.loads((tmp_path / "root" / "results" / "ablations" / "digits.json").read_text())
    rows = {r["ablation"]: r for r in found["rows"]}
    assert set(rows) == set(names)
    for name, made in rows.items():
        assert made["method"].startswith("learned-") and made["train_seconds"] > 0
        assert made["command"].endswith(f"--only={name}") == (name == "source=step")
    assert {"source=step", "source=step-source"} < found["budget"].keys()
    assert ablations.main(options, to_publish=False) == 0  # nothing is left to do
