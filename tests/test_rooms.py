import subprocess
import sys
import time

import pytest

from drf_jax import rooms, turns
from drf_jax.rooms import LOUD, QUIET, begin, enter, leave, quiet, seat, seated

IN_A_ROOM = (
    "import time\nfrom drf_jax import rooms\nrooms.enter({!r})\n"
    "print('in', flush=True)\ntime.sleep({})\nrooms.leave()\nprint('out', flush=True)\ntime.sleep(60)"
)


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    monkeypatch.setenv(rooms.VARIABLE, str(tmp_path / "rooms"))
    yield str(tmp_path / "rooms")
    leave()


@pytest.fixture
def other():
    """``other(room, seconds)`` starts a process that is in a room for so long, and waits until it is, if it is to."""
    made = []

    def start(room, seconds, wait=True):
        words = [sys.executable, "-c", IN_A_ROOM.format(room, seconds)]
        made.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        if wait:
            assert made[-1].stdout.readline() == "in\n"
        return made[-1]

    yield start
    for process in made:
        process.kill()
        process.wait()


def free(prefix, room):
    """Whether one could enter at once."""
    code = f"from drf_jax.rooms import seat; seat({prefix!r}, {room!r})"
    try:
        return subprocess.run([sys.executable, "-c", code], timeout=2, check=True) is not None
    except subprocess.TimeoutExpired:
        return False


@pytest.mark.parametrize("mine, theirs", [(LOUD, QUIET), (QUIET, LOUD)])
def test_one_room_is_in_use_at_a_time(prefix, other, mine, theirs):
    process = other(theirs, 1.0)
    start = time.monotonic()
    enter(mine)
    assert time.monotonic() - start > 0.5
    assert process.stdout.readline() == "out\n"
    enter(mine)  # is there already


@pytest.mark.parametrize("room", [LOUD, QUIET])
def test_a_room_holds_many(prefix, other, room):
    other(room, 60)
    other(room, 60)
    enter(room)
    assert free(prefix, room)


def test_nobody_passes_who_waits_at_the_door(prefix, other):
    enter(QUIET)
    assert free(prefix, QUIET)
    waiting = other(LOUD, 60, wait=False)
    while free(prefix, QUIET):
        time.sleep(0.1)
    leave()
    assert waiting.stdout.readline() == "in\n"


def test_a_kill_empties_the_room(prefix, other):
    other(LOUD, 60).kill()
    enter(QUIET)


def test_after_what_is_timed_a_process_is_loud_again(prefix):
    begin()
    with quiet():
        assert list(rooms._inside) == [QUIET]
    assert list(rooms._inside) == [LOUD]


def test_a_process_is_loud_from_its_start(prefix, monkeypatch):
    with seated({rooms.VARIABLE: prefix}) as (more, descriptors):
        code = "import time; print('started', flush=True); time.sleep(60)"
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, pass_fds=descriptors
        )
    assert process.stdout.readline() == "started\n"
    assert not free(prefix, QUIET)
    process.kill()
    process.wait()
    assert free(prefix, QUIET)
    with seated({}) as (more, descriptors):
        assert (more, descriptors) == ({}, ())


def test_the_seat_that_was_given_is_taken(prefix, monkeypatch):
    mine = seat(prefix, LOUD)
    monkeypatch.setenv(rooms.SEAT, str(mine))
    begin()
    assert rooms._inside == {LOUD: mine}
    enter(QUIET)  # the only one there was
    assert list(rooms._inside) == [QUIET]


def test_who_waits_for_a_turn_is_in_no_room(prefix, tmp_path, monkeypatch):
    monkeypatch.setenv(turns.VARIABLE, str(tmp_path / "turns"))
    code = (
        "import time\nfrom drf_jax.turns import turn\nfrom drf_jax.rooms import quiet\nwith turn():\n"
        " print('mine', flush=True)\n time.sleep(0.5)\n with quiet():\n  print('done', flush=True)"
    )
    begin()
    words = [sys.executable, "-c", code]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "mine\n"
    with turns.turn():  # would wait for ever, were this process still loud
        assert process.wait(5) == 0
        assert list(rooms._inside) == [LOUD]


def test_without_the_variable_nobody_waits(monkeypatch):
    monkeypatch.delenv(rooms.VARIABLE, raising=False)
    begin()
    with quiet():
        assert not rooms._inside and not rooms.apart()
