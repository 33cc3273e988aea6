"""Two processes with 4 devices each train as one with 8; what the one saves the other resumes."""

import json
import signal
import socket
import time

import numpy as np
import pytest
from commands import commands, finish, state

from drf_jax.configs import digits

STEPS = 40
TINY = [
    *("train", "--config", f"{digits.__file__}:smoke", "--config.mesh.data=-1"),
    *("--config.network.width=16", "--config.network.depth=1", "--config.network.heads=2"),
    *(f"--config.train.steps={STEPS}", "--config.train.checkpoint_every=1"),
    *("--config.train.held_out=32", "--config.train.evaluate_every=1"),
]


def port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def start(quick_flags, tmp_path_factory):
    """``start(devices, *flags)``: the command in a process of its own; all share compiled programs, no others do."""
    cache = tmp_path_factory.mktemp("cache")

    def start(devices, *flags):
        env = {
            "XLA_FLAGS": f"{quick_flags} --xla_force_host_platform_device_count={devices}",
            "JAX_COMPILATION_CACHE_DIR": str(cache),
        }
        return begin([*TINY, *flags], env)

    with commands() as begin:
        yield start


def pair(start, workdir):
    address = f"--coordinator=localhost:{port()}"
    flags = ["--workdir", workdir, "--distributed", address, "--processes=2", "--timeout=100"]
    return [start(4, *flags, f"--process={i}") for i in (0, 1)]


def saved(workdir):
    folder = workdir / "checkpoints"
    return max((int(p.name) for p in folder.glob("*") if p.name.isdigit()), default=0)


def wait_for(workdir, step):
    """Until a checkpoint of at least ``step`` is there."""
    end = time.monotonic() + 200
    while saved(workdir) < step:
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_two_processes_are_stopped_killed_and_resumed_as_one(start, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finish(start(8, "--workdir", whole), 0)

    # Ctrl-C: one process gets it, both save the same step.
    first, second = pair(start, cut)
    wait_for(cut, 3)
    second.send_signal(signal.SIGINT)
    error = finish(first, 143)
    finish(second, 130)
    interrupted = saved(cut)
    assert 3 <= interrupted < STEPS
    assert f"SIGTERM after step {interrupted}; saved" in error

    # A preempted host: only the second process is told.
    first, second = pair(start, cut)
    wait_for(cut, interrupted + 3)
    second.send_signal(signal.SIGTERM)
    errors = finish(first, 143), finish(second, 143)
    assert "process 0 of 2: 4 of 8 devices" in errors[0]
    assert "process 1 of 2: 4 of 8 devices" in errors[1]
    assert "mesh data=8 draft=1 model=1, 2 process(es)" in errors[0]
    stopped = saved(cut)
    assert interrupted + 3 <= stopped < STEPS
    assert f"SIGTERM after step {stopped}; saved" in errors[0]

    # Two again, which die at once.
    both = pair(start, cut)
    wait_for(cut, stopped + 3)
    for process in both:
        process.kill()
    for process in both:
        process.communicate()
    killed = saved(cut)
    assert stopped + 3 <= killed < STEPS

    # One process with all the devices goes on, and ends where the uninterrupted one did.
    err = finish(start(8, "--workdir", cut), 0)
    assert f"from step {killed} of {STEPS} on 8 x cpu" in err
    ours, theirs = state(cut, STEPS), state(whole, STEPS)
    assert ours.keys() == theirs.keys() and len(ours) > 50
    for name in theirs:
        # The bias of the keys has no gradient but rounding, which Adam makes larger.
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-3, atol=2e-4, err_msg=name)
    for name in ("loss", "held_out"):
        curves = [
            [json.loads(line)[name] for line in (run / "metrics.jsonl").read_text().splitlines()]
            for run in (whole, cut)
        ]
        np.testing.assert_allclose(*curves, rtol=1e-4)


def test_process_that_waits_alone_says_so_after_its_time_out(start, tmp_path):
    flags = ["--distributed", "--processes=2", "--process=1", "--timeout=3"]
    process = start(1, "--workdir", tmp_path / "run", *flags, f"--coordinator=localhost:{port()}")
    err = finish(process, 2)
    assert "waiting up to 3 s for the other processes" in err
    assert "did not find each other within 3 s: is every one started" in err
    assert not (tmp_path / "run").exists()
