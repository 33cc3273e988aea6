import os
import signal
import subprocess
import sys

import pytest

from drf_jax.errors import UserError
from drf_jax.lock import hold

HOLDER = """
import sys
from drf_jax.lock import hold
hold(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder():
    """``holder(folder)``: another process that holds the folder until it is killed."""
    started = []

    def start(folder):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_process_is_refused_with_the_name_of_the_first(tmp_path, holder):
    other = holder(tmp_path)
    message = (
        rf"{tmp_path} is in use by another run \(process {other.pid} on {os.uname().nodename}\)"
    )
    for _ in range(2):
        with pytest.raises(UserError, match=message):
            hold(tmp_path)


def test_kill_9_leaves_nothing_to_clean_up(tmp_path, holder):
    other = holder(tmp_path)
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert str(other.pid) in (tmp_path / ".lock").read_text()
    hold(tmp_path)
    assert str(os.getpid()) in (tmp_path / ".lock").read_text()


def test_one_process_may_hold_again_and_several_folders(tmp_path):
    (tmp_path / "other").mkdir()
    for folder in (tmp_path, tmp_path / "other", tmp_path):
        hold(folder)


def test_a_lock_file_of_another_kind_does_not_hurt(tmp_path, holder):
    (tmp_path / ".lock").write_text("x" * 1000)
    other = holder(tmp_path)
    with pytest.raises(UserError, match=rf"process {other.pid} on"):
        hold(tmp_path)
