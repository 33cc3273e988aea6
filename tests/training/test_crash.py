"""Training from the command line is killed again and again, and loses only the updates since its last checkpoint.

The killed run's last checkpoint (parameters, average, optimizer state) and its metrics, but for seconds, are those of
a run that was never interrupted, bit for bit.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from commands import ENTRY, curve, finish, state

from drf_jax.configs import digits
from drf_jax.training.best import read_scores

KILLS, STEPS = 21, 200
OFTEN = "--config.train.checkpoint_every=2"
COMMAND = [
    *("train", "--config", f"{digits.__file__}:smoke"),
    *("--config.network.width=16", "--config.network.depth=1", "--config.network.heads=2"),
    *(f"--config.train.steps={STEPS}", "--config.train.checkpoint_every=20"),
    *("--config.train.log_every=2", "--config.train.held_out=32"),
    *("--config.train.evaluate_every=2", "--config.train.keep_best=1", "--workdir"),
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Sharding info not provided"),
]


class Runs:
    """Starts the command; all runs share compiled programs, which others must not: a kill may leave half of one."""

    def __init__(self, flags, cache):
        self._env = {**os.environ, "XLA_FLAGS": flags, "JAX_COMPILATION_CACHE_DIR": str(cache)}

    def start(self, workdir, *flags, entry=ENTRY):
        return subprocess.Popen(
            [sys.executable, "-c", entry, *COMMAND, str(workdir), *flags],
            env=self._env,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, workdir, *flags, code=0, entry=ENTRY):
        """What the command says on stderr; it ends with ``code``."""
        return finish(self.start(workdir, *flags, entry=entry), code)


@pytest.fixture(scope="module")
def runs(quick_flags, tmp_path_factory):
    return Runs(quick_flags, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def whole(runs, tmp_path_factory):
    """A run that was never interrupted."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    runs.finish(workdir)
    return workdir


def steps(workdir):
    """The checkpoints that are there, ascending."""
    names = (p.name for p in (workdir / "checkpoints").glob("*"))
    return sorted(int(name) for name in names if name.isdigit())


def same(ours, theirs):
    """Whether two finished runs are the same, bit for bit."""
    a, b = state(ours, STEPS), state(theirs, STEPS)
    assert a.keys() == b.keys() and len(a) > 50
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert curve(ours) == curve(theirs)
    assert [line["step"] for line in curve(ours)] == list(range(2, STEPS + 1, 2))
    assert all(line["held_out"] > 0 for line in curve(ours))


def saving(workdir):
    return any((workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*"))


def started(workdir, process, begin):
    """Wait until the run has saved something newer than what it began with."""
    while process.poll() is None and steps(workdir)[-1:] <= begin:
        time.sleep(0.001)


def test_kills_change_nothing(runs, whole, tmp_path):
    """One kill in three while the process starts, one inside a save, one at any moment of the training."""
    moments, workdir = random.Random(0), tmp_path / "run"
    inside = 0
    for kind in range(KILLS):
        begin = steps(workdir)[-1:]
        process = runs.start(workdir, OFTEN)
        if kind % 3 == 0:
            time.sleep(moments.uniform(0.2, 4.0))
        else:
            started(workdir, process, begin)
            if kind % 3 == 1:
                while process.poll() is None and not saving(workdir):
                    pass
            time.sleep(moments.uniform(0.0, 0.02 if kind % 3 == 1 else 0.1))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "the run was over before it was killed"
        inside += (workdir / "checkpoints").exists() and saving(workdir)
        assert steps(workdir)[-1:] >= begin
    last = steps(workdir)[-1]
    err = runs.finish(workdir)
    assert f"from step {last} of {STEPS}" in err
    print(f"{KILLS} kills, {inside} of them inside a save; resumed from step {last} after the last")
    assert inside >= 3
    assert not saving(workdir)
    same(workdir, whole)


def test_the_best_checkpoint_after_kills_is_that_of_the_whole_run(runs, whole, tmp_path):
    moments, workdir = random.Random(1), tmp_path / "run"
    for _ in range(4):
        begin = steps(workdir)[-1:]
        process = runs.start(workdir)
        started(workdir, process, begin)
        time.sleep(moments.uniform(0.0, 0.1))
        process.kill()
        process.communicate()
    runs.finish(workdir)
    assert steps(workdir) == steps(whole)
    assert read_scores(workdir / "checkpoints", steps(workdir)) == read_scores(
        whole / "checkpoints", steps(whole)
    )
    same(workdir, whole)


def test_sigterm_saves_and_the_run_goes_on(runs, whole, tmp_path):
    workdir = tmp_path / "run"
    process = runs.start(workdir)
    started(workdir, process, [])
    process.terminate()
    _, err = process.communicate(timeout=100)
    assert process.returncode == 143
    [stopped] = steps(workdir)[-1:]
    assert f"SIGTERM after step {stopped}; saved in" in err
    runs.finish(workdir)
    same(workdir, whole)


def cut_a_shard(folder):
    file = max(folder.rglob("d/*"), key=lambda file: file.stat().st_size)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def delete_metadata(folder):
    (folder / "default" / "_METADATA").unlink()


@pytest.mark.parametrize("damage", [cut_a_shard, delete_metadata])
def test_damaged_newest_checkpoint_costs_its_steps_only(runs, whole, tmp_path, damage):
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    before, newest = steps(workdir)[-2:]
    damage(workdir / "checkpoints" / str(newest))
    err = runs.finish(workdir)
    assert f"(step {newest}) cannot be read: truncated or damaged" in err
    assert f"from step {before} of {STEPS}" in err
    assert (workdir / "checkpoints" / f"{newest}.damaged").is_dir()
    same(workdir, whole)


def test_full_disk_stops_the_run_and_harms_nothing(runs, whole, tmp_path):
    """No file may grow beyond half of a checkpoint's largest one: writing fails half-way.

    How orbax cuts a checkpoint into files differs from save to save, so one or two may still succeed.
    """
    workdir = tmp_path / "run"
    process = runs.start(workdir)
    started(workdir, process, [])
    process.kill()
    process.communicate()
    before = steps(workdir)
    largest = max(file.stat().st_size for file in whole.rglob("d/*"))
    limit = f"import resource as r; r.setrlimit(r.RLIMIT_FSIZE, ({largest // 2},) * 2); "
    err = runs.finish(workdir, code=2, entry=limit + ENTRY)
    assert "cannot be written: File too large; older ones are as they were" in err
    [*_, last] = steps(workdir)
    assert last >= before[-1]
    assert f"from step {last} of" in runs.finish(workdir)
    same(workdir, whole)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to mount a file system")
def test_small_file_system_stops_the_run_with_the_space_it_needs(runs, whole, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this container may not mount a file system")
    try:
        err = runs.finish(disk / "run", code=2)
        assert "MiB and the disk has" in err or "No space left on device" in err
        left = steps(disk / "run")
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        err = runs.finish(disk / "run")
        assert not left or f"from step {left[-1]} of" in err
        same(disk / "run", whole)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_second_run_in_the_folder_is_refused_and_the_first_goes_on(runs, whole, tmp_path):
    workdir = tmp_path / "run"
    first = runs.start(workdir)
    started(workdir, first, [])
    first.send_signal(signal.SIGSTOP)  # else it may end before the second begins
    try:
        err = runs.finish(workdir, code=2)
    finally:
        first.send_signal(signal.SIGCONT)
    assert f"in use by another run (process {first.pid} on {os.uname().nodename})" in err
    first.communicate(timeout=100)
    assert first.returncode == 0
    same(workdir, whole)
