"""The milliseconds of a table's rows: when they are measured, of what, and which rows they go into."""

import json
import sys
from pathlib import Path

from drf_jax.evaluation.report import row


def test_what_was_made_beside_others_or_elsewhere_is_timed_alone(
    rivals, options, monkeypatch, capsys
):
    runs, made, asked = sys.modules["rival_runs"], rivals.Table(options), []
    students = rivals.offered(options)
    for name, method in {"lcm": "lcm-4", "training-free-multistep": "unipc-3"}.items():
        command = f"python experiments/rivals.py --only={name}"
        calls = {"sequential_calls": 4, "network_evaluations": 4}
        made.rows[method] = row(method=method, **calls, fd=1.0, command=command)
        made.note("made", name, True)
    old = {"sequential_calls": 4, "network_evaluations": 8}  # by another sampler of that name
    made.rows["hybrid-lcm-4"] = row(method="hybrid-lcm-4", **old, command="… --only=lcm")

    def run(words, *rest):
        assert rest[-1]["DRF_TURNS"] == f"{options.runs / 'turns-of-all'}:theirs:too"
        asked.extend(Path(file).stem for file in words[4:])
        times = {
            "lcm-4": {"ms": 3.5, "evaluations": 4},
            "unipc-3": {"ms": 2.5, "evaluations": None},  # it depends on the sample
            "hybrid-lcm-4": {"ms": 9.0, "evaluations": 10},
        }
        times = {Path(file).stem: times for file in words[4:]}
        found = {"milliseconds": times, "where": {"device": "1 x chip"}}
        Path(words[2]).write_text(json.dumps(found))

    monkeypatch.setattr(runs, "run_logged", run)
    monkeypatch.setenv("DRF_TURNS", "theirs:too")  # of other commands on the same accelerators
    for _ in range(2):  # the second time nothing is left
        runs.time_alone(options, made, options.runs, students, [{}, {}])
    assert sorted(asked) == ["lcm", "training-free-multistep"]
    again = rivals.Table(options)
    found = {key: r.get("ms_batch1") for key, r in again.rows.items()}
    assert found == {"unipc-3": 2.5, "lcm-4": 3.5, "hybrid-lcm-4": None}
    assert (
        "hybrid-lcm-4 is not timed: it was made with 8 evaluations, and takes 10"
        in capsys.readouterr().err
    )
    assert again.facts["timed"] == {key: {"device": "1 x chip"} for key in asked}
    sys.modules["rival_seconds"].forget(again, ("timing",))
    assert again.facts["timed"] == {} and len(again.rows) == 3


def test_one_training_at_a_time_beside_another_command_is_timed_at_the_end(
    rivals, options, monkeypatch
):
    loop, timed = sys.modules["rival_loop"], []
    for name in ("make_teacher", "make_features"):
        monkeypatch.setattr(loop, name, lambda *_: options.runs)
    monkeypatch.setattr(loop, "time_alone", lambda *args: timed.append(args[-1]))
    made = rivals.Table(options)
    for turns in ("", "theirs"):
        monkeypatch.setenv("DRF_TURNS", turns)
        assert loop.make_table(options, made, {}, {}) == []
    assert timed == [[{"DRF_TURNS": "theirs"}]]


def test_what_is_timed_of_a_student_needs_no_training(
    rivals, options, experiment, untrained_teacher
):
    runs, timing = sys.modules["rival_runs"], experiment("rival_time")
    students, teacher = rivals.offered(options), untrained_teacher
    names = {}
    for name in (*students, *runs.free_methods(options)):
        path = runs.ask_for_time(options, options.runs / "teacher", name, students)
        names[name] = {m.name for m in timing.methods_of(json.loads(path.read_text()), teacher)}
    assert names["learned-4"] == {"learned-4"}
    assert names["step-4"] == {"step-distilled-4", "hybrid-step-8"}
    assert names["progressive"] == {"progressive-2", "progressive-4", "hybrid-progressive-4"}
    hybrids = {f"hybrid-lcm-{n}" for n in (2, 4, 8)}
    assert names["lcm"] == {f"lcm-{n}" for n in (1, 2, 4, 8)} | hybrids
    assert {"hybrid-2", "consistency-distillation-1"} < names["consistency_distillation"]
    assert names["adversarial"] and names["training-free-serial"] >= {"ddim-6"}
