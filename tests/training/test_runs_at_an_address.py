"""Runs at an address end as those in a folder do, whatever hosts they were on; hosts share no file system."""

import json
import signal
import socket
import time

import numpy as np
import pytest
from bucket import bucket
from commands import commands, curve, finish, state

from drf_jax.configs import digits, digits_distilled

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Sharding info not provided"),
]
STEPS = 40
COMMAND = [
    *("train", "--config", f"{digits.__file__}:smoke", "--config.mesh.data=-1"),
    *("--config.network.width=16", "--config.network.depth=1", "--config.network.heads=2"),
    *(f"--config.train.steps={STEPS}", "--config.train.checkpoint_every=4"),
    *("--config.train.log_every=2", "--config.train.held_out=32"),
    *("--config.train.evaluate_every=4", "--config.train.keep_best=1"),
]
ADDRESS = "gs://bucket/runs/digits"


@pytest.fixture(scope="module")
def storage():
    pytest.importorskip("gcsfs")
    with bucket() as server:
        yield server


@pytest.fixture(scope="module")
def start(storage, quick_flags, tmp_path_factory):
    """``start(host, devices, *flags)``: a command on a host of its own folders; all share compiled programs."""
    cache, hosts = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("hosts")

    def start(host, devices, *flags, command=COMMAND):
        env = {
            **storage.environment,
            "XDG_CACHE_HOME": str(hosts / host),
            "XLA_FLAGS": f"{quick_flags} --xla_force_host_platform_device_count={devices}",
            "JAX_COMPILATION_CACHE_DIR": str(cache),
        }
        return begin([*command, *flags], env)

    with commands() as begin:
        yield start


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory):
    """A run in a folder, never interrupted, on 8 devices."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    finish(start("whole", 8, "--workdir", workdir))
    return workdir


def saved(storage):
    with storage.lock:
        names = [name for name in storage.objects if name.endswith("/commit_success.txt")]
    steps = [name.split("/")[3] for name in names if name.count("/") == 4]
    return max(map(int, steps), default=0)


def wait_for(storage, step, process):
    end = time.monotonic() + 200
    while saved(storage) < step:
        assert time.monotonic() < end and process.poll() is None, finish(process)
        time.sleep(0.02)


def fetched(storage, folder):
    """What is at the address, as a folder."""
    for name, (_, content) in storage.objects.items():
        path = folder / name.removeprefix("runs/digits/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_a_run_that_is_killed_goes_on_on_another_host_with_the_same_bits(
    storage, start, whole, tmp_path
):
    storage.objects.clear()
    step = 0
    for i, how in enumerate((signal.SIGKILL, signal.SIGTERM)):
        process = start(f"host-{i}", 8, "--workdir", ADDRESS)
        wait_for(storage, step + 4, process)
        process.send_signal(how)
        finish(process, 143 if how == signal.SIGTERM else -how)
        step = saved(storage)
        assert 0 < step < STEPS
    said = finish(start("host-2", 8, "--workdir", ADDRESS))
    assert f"from step {step} of {STEPS}" in said
    assert "runs/digits/.lock" not in storage.objects
    ours, theirs = state(fetched(storage, tmp_path), STEPS), state(whole, STEPS)
    assert ours.keys() == theirs.keys() and len(ours) > 50
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    assert curve(tmp_path) == curve(whole)


def test_two_hosts_that_share_no_folder_train_one_run(storage, start, whole, tmp_path):
    storage.objects.clear()
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"--coordinator=localhost:{free.getsockname()[1]}"
    flags = ["--workdir", ADDRESS, "--distributed", coordinator, "--processes=2", "--timeout=100"]
    both = [start(f"of-two-{i}", 4, *flags, f"--process={i}") for i in (0, 1)]
    wait_for(storage, 8, both[0])
    for process in both:
        process.kill()
        finish(process, -signal.SIGKILL)
    assert 8 <= (step := saved(storage)) < STEPS
    said = finish(start("alone", 8, "--workdir", ADDRESS))
    assert f"from step {step} of {STEPS}" in said
    ours, theirs = state(fetched(storage, tmp_path), STEPS), state(whole, STEPS)
    for name in ours:
        # The bias of the keys has no gradient but rounding, which Adam makes larger.
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-3, atol=2e-4, err_msg=name)
    assert [line["step"] for line in curve(tmp_path)] == [line["step"] for line in curve(whole)]


def test_a_run_that_is_taken_over_stops_before_it_saves(storage, start):
    storage.objects.clear()
    long = ("--config.train.steps=100000", "--config.train.sample_every=100000")
    first = start("first", 8, "--workdir", ADDRESS, *long)
    wait_for(storage, 4, first)
    second = start("second", 8, "--workdir", ADDRESS, *long)
    assert "this run was taken over" in finish(first, 2)
    wait_for(storage, saved(storage) + 8, second)
    second.send_signal(signal.SIGTERM)
    said = finish(second, 143)
    assert f"was left by process {first.pid} on {socket.gethostname()}" in said


def test_a_student_needs_its_teacher_s_address_and_its_evaluation_both(storage, start):
    storage.objects.clear()
    teacher, student = "gs://bucket/teacher", "gs://bucket/student"
    of_student = f"{digits_distilled.__file__}:method=progressive,smoke"
    run = ["--config", of_student, f"--config.teacher={teacher}", "--workdir", student]
    digits_run = ["--config", f"{digits.__file__}:smoke", "--workdir", teacher]
    finish(start("one", 1, *digits_run, command=["train"]))
    finish(start("two", 1, *run, command=["train"]))
    assert any(name.startswith("student/stage-2/checkpoints/4/") for name in storage.objects)
    finish(start("three", 1, *run, command=["evaluate"]))
    made = json.loads(storage.objects["student/results.json"][1])["rows"]
    assert {row["method"] for row in made} > {"progressive-2", "hybrid-progressive-4"}
    finish(start("four", 1, *run, command=["evaluate"]))  # knows the rows, and makes none again
    assert json.loads(storage.objects["student/results.json"][1])["rows"] == made
    finish(start("five", 1, *digits_run, command=["sample"]))
    assert storage.objects["teacher/samples/grid.png"][1].startswith(b"\x89PNG")
