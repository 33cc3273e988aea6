"""launch_tpu.sh against a stand-in for gcloud that records what it is asked and remembers what exists."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "launch_tpu.sh"
FLAGS = {
    "--name": "demo",
    "--project": "lab",
    "--zone": "us-west4-a",
    "--bucket": "gs://results",
    "--topology": "v5e:4x4",
}
RUN = ["--", "train", "--config", "configs/cifar10.py:bf16", "--config.train.steps=10"]

STAND_IN = """#!{python}
import json, os, pathlib, sys
here, argv = pathlib.Path(os.environ["STAND_IN"]), sys.argv[1:]
with (here / "calls.jsonl").open("a") as file:
    file.write(json.dumps([pathlib.Path(sys.argv[0]).name, *argv]) + "\\n")
if sys.argv[0].endswith("drf"):
    sys.exit(int(os.environ.get("PLAN_EXIT", "0")))
if argv[:2] == ["storage", "cat"]:
    launch = here / "launch.txt"
    print(launch.read_text() if launch.exists() else "", end="")
if argv[:2] == ["storage", "cp"]:
    (here / "launch.txt").write_text(pathlib.Path(argv[3]).read_text())
if argv[:2] != ["compute", "tpus"]:
    sys.exit()
kind, verb = argv[2:4]
state, slice_state = here / kind, here / "tpu-vm"
if verb == "describe":
    if "DENIED" in os.environ:
        sys.exit("ERROR: permission denied")
    states = state.read_text().split() if state.exists() else []
    if not states:
        sys.exit("ERROR: NOT_FOUND: no such resource")
    print(states[0])
    state.write_text(" ".join(states[1:] or states))
if verb == "create":
    state.write_text("READY" if kind == "tpu-vm" else "WAITING_FOR_RESOURCES PROVISIONING ACTIVE")
    slice_state.write_text("READY")
if verb == "delete":
    state.unlink()
    slice_state.unlink(missing_ok=True)
"""


@pytest.fixture
def cloud(tmp_path):
    """The stand-in's folder; ``drf`` there is a stand-in too."""
    for name in ("gcloud", "drf"):
        file = tmp_path / name
        file.write_text(STAND_IN.replace("{python}", sys.executable))
        file.chmod(0o755)
    return tmp_path


def launch(cloud, *argv, flags=FLAGS, **env):
    """Run the script: (exit code, what gcloud and drf were asked since, stdout, stderr)."""
    calls = cloud / "calls.jsonl"
    calls.unlink(missing_ok=True)
    given = [word for pair in flags.items() for word in pair]
    done = subprocess.run(
        [SCRIPT, argv[0], *given, *argv[1:]],
        capture_output=True,
        text=True,
        env={
            "PATH": f"{cloud}:{os.environ['PATH']}",
            "STAND_IN": str(cloud),
            "TMPDIR": str(cloud),
            "HOME": str(cloud),
            "DRF_POLL": "0",
            **env,
        },
        cwd=cloud,
        timeout=60,
    )
    asked = [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
    return done.returncode, asked, done.stdout, done.stderr


def verbs(asked):
    """What was asked, without describing: ``tpu-vm create``, ``drf plan``."""
    words = [a[3:5] if a[1:3] == ["compute", "tpus"] else a[:1] + a[1:2] for a in asked]
    return [" ".join(w) for w in words if "describe" not in w]


def test_it_is_clean_shell():
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    subprocess.run(["shellcheck", SCRIPT], check=True)


@pytest.mark.parametrize("missing", ["--name", "--project", "--zone", "--bucket", "--topology"])
def test_what_is_missing_is_named_with_its_variable(cloud, missing):
    flags = {k: v for k, v in FLAGS.items() if k != missing}
    code, asked, _, err = launch(cloud, "create", *RUN, flags=flags)
    variable = {"--name": "DRF_TPU_NAME"}.get(missing, f"DRF_{missing[2:].upper()}")
    assert code == 2 and not asked
    assert f"{missing} is missing" in err and variable in err
    assert launch(cloud, "create", *RUN, flags=flags, **{variable: FLAGS[missing]})[0] == 0


@pytest.mark.parametrize(
    "argv, problem",
    [
        (["start"], "unknown command start"),
        (["create", "--fast"], "unknown option --fast"),
        (["create", "--bucket", "results"], "must begin with gs://"),
        (["create", "--topology", "v2:4x4", *RUN], "choose a generation of v5e, v5p, v6e"),
        (["create", "--topology", "v5e", *RUN], "must be like v5e:4x4"),
        (["create"], "say after -- what will run"),
        (["run"], "say after -- what to run"),
        (["resume"], "launch.txt does not say what ran"),
    ],
)
def test_mistakes_cost_nothing(cloud, argv, problem):
    code, asked, _, err = launch(cloud, *argv)
    assert code == 2 and problem in err
    assert not [v for v in verbs(asked) if "create" in v or "ssh" in v]


@pytest.mark.parametrize(
    "topology, kind, runtime",
    [
        ("v5e:4x4", "v5litepod-16", "v2-alpha-tpuv5-lite"),
        ("v5p:2x2x4", "v5p-32", "v2-alpha-tpuv5"),
        ("v6e:16x16", "v6e-256", "v2-alpha-tpuv6e"),
    ],
)
def test_it_plans_then_creates(cloud, topology, kind, runtime):
    _, asked, _, _ = launch(cloud, "create", "--topology", topology, "--spot", *RUN)
    assert verbs(asked) == ["drf plan", "tpu-vm create"]
    plan, create = asked[-2:]
    assert plan[2:5] == ["--config", "configs/cifar10.py:bf16", "--config.train.steps=10"]
    assert f"--topology={topology}" in plan
    assert {"demo", "--project=lab", "--zone=us-west4-a", "--spot"} <= set(create)
    assert {f"--accelerator-type={kind}", f"--version={runtime}"} <= set(create)


def test_a_plan_that_does_not_fit_creates_nothing(cloud):
    code, asked, _, err = launch(cloud, "create", *RUN, PLAN_EXIT="2")
    assert code == 2 and verbs(asked) == ["drf plan"] and "--no-plan" in err
    code, asked, _, _ = launch(cloud, "create", "--no-plan", PLAN_EXIT="2")
    assert code == 0 and verbs(asked) == ["tpu-vm create"]


def test_creating_and_deleting_twice_is_the_same_as_once(cloud):
    assert verbs(launch(cloud, "create", *RUN)[1]) == ["drf plan", "tpu-vm create"]
    code, asked, _, err = launch(cloud, "create", *RUN)
    assert code == 0 and verbs(asked) == [] and "exists and is READY" in err
    assert verbs(launch(cloud, "delete")[1]) == ["tpu-vm delete"]
    code, asked, _, err = launch(cloud, "delete")
    assert code == 0 and verbs(asked) == [] and "nothing to delete" in err


def test_a_place_in_the_queue_is_awaited_and_deleted_with_its_slice(cloud):
    code, asked, _, err = launch(cloud, "create", "--queued", *RUN)
    assert code == 0 and verbs(asked) == ["drf plan", "queued-resources create"]
    assert "--node-id=demo" in asked[3] and "--runtime-version=v2-alpha-tpuv5-lite" in asked[3]
    assert "WAITING_FOR_RESOURCES" in err and "PROVISIONING" in err
    assert verbs(launch(cloud, "delete")[1]) == ["queued-resources delete"]


def test_a_queue_that_gives_up_is_an_error(cloud):
    (cloud / "queued-resources").write_text("PROVISIONING FAILED")
    code, asked, _, err = launch(cloud, "create", "--queued", *RUN)
    assert code == 2 and verbs(asked) == [] and "in the queue is FAILED" in err


def test_an_answer_that_is_neither_yes_nor_no_stops_it(cloud):
    code, asked, _, err = launch(cloud, "create", *RUN, DENIED="1")
    assert code == 2 and verbs(asked) == [] and "permission denied" in err


def test_a_run_starts_on_all_workers_once(cloud):
    _, asked, _, _ = launch(cloud, "run", *RUN, "--config.title=a b")
    assert verbs(asked) == ["gcloud storage", "tpu-vm ssh"]
    ssh = asked[-1]
    assert "--worker=all" in ssh
    command = next(word for word in ssh if word.startswith("--command="))
    assert "flock -n" in command and "--workdir gs://results/demo --distributed" in command
    assert r"--config.title=a\ b" in command
    assert (cloud / "launch.txt").read_text().splitlines() == [*RUN[1:], "--config.title=a b"]


def test_a_run_may_have_its_own_folder(cloud):
    _, asked, _, _ = launch(cloud, "run", *RUN, "--workdir=/shared/demo")
    assert "--workdir=/shared/demo --distributed" in asked[-1][-1]
    assert "gs://" not in asked[-1][-1]


def test_a_bucket_may_be_a_part_of_one(cloud):
    _, asked, _, _ = launch(cloud, "run", "--bucket", "gs://results/team/a/", *RUN)
    assert "--workdir gs://results/team/a/demo --distributed" in asked[-1][-1]


def test_resuming_makes_a_preempted_slice_again_and_runs_what_ran(cloud):
    launch(cloud, "create", "--spot", *RUN)
    _, first, _, _ = launch(cloud, "run", *RUN)
    (cloud / "tpu-vm").write_text("PREEMPTED")
    code, asked, _, _ = launch(cloud, "resume", "--spot")
    assert code == 0
    assert verbs(asked) == [
        *("gcloud storage", "tpu-vm delete", "drf plan", "tpu-vm create"),
        *("tpu-vm scp", "tpu-vm ssh", "gcloud storage", "tpu-vm ssh"),
    ]
    assert asked[-1] == first[-1]  # the same command, which goes on from its folder


def test_resuming_a_slice_that_is_there_only_runs(cloud):
    launch(cloud, "create", *RUN)
    launch(cloud, "run", *RUN)
    assert verbs(launch(cloud, "resume")[1]) == ["gcloud storage", "gcloud storage", "tpu-vm ssh"]


def test_logs_and_fetch(cloud):
    _, asked, _, _ = launch(cloud, "logs", "-f")
    assert asked[0][-2:] == ["--worker=0", "--command=tail -n 100 -F drf.log"]
    _, asked, _, _ = launch(cloud, "fetch")
    assert asked[0][1:] == [
        *("storage", "rsync", "--recursive", "--project=lab"),
        *("gs://results/demo", "runs/demo"),
    ]


@pytest.mark.parametrize(
    "command, printed",
    [
        ("create", ["drf plan", "tpu-vm describe", "tpu-vm create"]),
        ("create --queued", ["queued-resources describe", "queued-resources create"]),
        ("setup", ["git -C", "tpu-vm scp", "tpu-vm ssh"]),
        ("run", ["storage cp", "tpu-vm ssh"]),
        ("logs", ["tpu-vm ssh"]),
        ("fetch", ["storage rsync"]),
        ("resume", ["tpu-vm delete", "tpu-vm create", "tpu-vm scp", "storage cp"]),
        ("delete", ["queued-resources delete", "tpu-vm delete"]),
    ],
)
def test_a_dry_run_prints_everything_and_runs_nothing(cloud, command, printed):
    before = sorted(cloud.iterdir())
    code, asked, out, err = launch(cloud, *command.split(), "--dry-run", *RUN)
    assert code == 0 and asked == [] and sorted(cloud.iterdir()) == before
    for words in printed:
        assert words in out + err
