import json
import select
import subprocess
import sys
import time

import pytest

from drf_jax import turns
from drf_jax.turns import Turn, turn

HOLDER = "import time\nfrom drf_jax.turns import turn\nwith turn():\n print('mine', flush=True)\n time.sleep({})"


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv(turns.VARIABLE, str(tmp_path / "turns"))
    return tmp_path / "turns"


def holder(seconds, script=HOLDER):
    process = subprocess.Popen(
        [sys.executable, "-c", script.format(seconds), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert select.select([process.stdout], [], [], 30)[0], "it waits for itself"
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


def test_of_several_accelerators_all_are_waited_for(tmp_path, monkeypatch, file):
    both = f"{tmp_path / 'other'}:{file}"
    process = holder(0.5)
    with turn(both):
        assert process.wait(5) == 0


def test_nobody_has_a_turn_while_somebody_compiles(file):
    script = HOLDER.replace("turn()", "compiling()").replace("import turn", "import compiling")
    process = holder(0.5, script)
    with turns.compiling():
        assert process.poll() is None
    with turn():
        assert process.wait(5) == 0


def test_the_file_tells_who_had_a_turn_and_how_long_he_waited(file):
    process = holder(0.5)
    with turn():
        pass
    with turns.compiling():
        pass
    assert process.wait(5) == 0
    first, mine, shared = map(json.loads, file.read_text().splitlines())
    assert first["command"] == "-c 0.5" and first["held"] >= 0.5 and first["waited"] < 0.4
    assert mine["waited"] > 0.2 and mine["held"] < 0.2
    assert mine["from"] == pytest.approx(first["from"] + first["held"], abs=0.2)
    assert [each["shared"] for each in (first, mine, shared)] == [False, False, True]


WAITS = "import sys\nfrom drf_jax.turns import turn\nprint('mine', flush=True)\nwith turn(first={}): pass"


def test_who_comes_first_goes_before_those_who_wait_longer(file):
    with turn():
        waiting = [holder(first, WAITS) for first in (False, False, True, True)]
        time.sleep(0.5)
    for process in waiting:
        assert process.wait(10) == 0
    _, *others = map(json.loads, file.read_text().splitlines())
    assert [each["command"] for each in others] == ["-c True", "-c True", "-c False", "-c False"]


def test_who_was_to_come_first_and_is_dead_holds_nobody_up(file):
    with turn():
        dead = holder(True, WAITS)
        time.sleep(0.5)
        dead.kill()
        dead.wait(5)
    with turn():
        pass
    assert len(file.read_text().splitlines()) == 2


KEPT = (
    "import time\nfrom drf_jax import turns\nfrom drf_jax.turns import Turn, turn\nturns.keep()\n"
)


def test_a_kept_turn_lasts_until_the_process_ends(file):
    script = (
        KEPT + "with Turn(lasts=True) as mine:\n mine.take()\n mine.give()\n"
        "with turn(), turns.compiling(), Turn(lasts=True) as again:\n again.take()\n"
        "print('mine', flush=True)\ntime.sleep({})"
    )
    process = holder(0.5, script)
    with turn():
        assert process.wait(5) == 0


@pytest.mark.parametrize("before", ["pass", "with turn(): pass"])
def test_who_keeps_turns_and_has_had_none_that_lasts_holds_nobody_up(file, before):
    process = holder(60, KEPT + before + "\nprint('mine', flush=True)\ntime.sleep({})")
    with turn():
        assert process.poll() is None
    process.kill()
