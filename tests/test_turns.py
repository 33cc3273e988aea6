import subprocess
import sys
import time

import pytest

from drf_jax import turns
from drf_jax.turns import Turn, turn

HOLDER = "import time\nfrom drf_jax.turns import turn\nwith turn():\n print('mine', flush=True)\n time.sleep({})"


@pytest.fixture
def file(tmp_path):
    with turns.sharing(tmp_path / "turns"):
        yield tmp_path / "turns"
    assert not turns.shared()


def holder(seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "mine\n"
    return process


def test_a_turn_waits_for_that_of_another_process(file):
    process = holder(0.5)
    with turn():
        assert process.wait(5) == 0


def test_a_kill_gives_the_turn_back(file):
    process = holder(60)
    process.kill()
    start = time.monotonic()
    with turn():
        assert time.monotonic() - start < 10


def test_a_turn_may_be_given_back_and_taken_again(file):
    mine, other = Turn(), Turn()
    mine.take()
    mine.take()
    mine.give()
    other.take()
    other.give()
    mine.take()
    mine.give()
    mine.give()


def test_without_the_variable_nobody_waits(tmp_path, monkeypatch):
    monkeypatch.delenv(turns.VARIABLE, raising=False)
    assert not turns.shared()
    with turn(), turn():
        pass
