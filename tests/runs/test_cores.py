import os
import sys
import threading

import pytest

from drf_jax.runs import accelerators
from drf_jax.runs.accelerators import Places
from drf_jax.runs.cores import VARIABLE, count, on_own_cores, share
from drf_jax.runs.processes import Deadline, run_logged

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="cores are shared out on Linux only"
)


def test_the_shares_are_apart_and_are_all_of_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3, 8, 9, 10, 11})
    assert [share(i, 2)[VARIABLE] for i in range(2)] == ["0,1,2,3", "8,9,10,11"]
    assert [share(i, 3)[VARIABLE] for i in range(3)] == ["0,1", "2,3", "8,9"]
    assert share(0, 9) == {}


def test_a_process_sees_its_own_cores_and_its_parent_keeps_all(tmp_path):
    before = os.sched_getaffinity(0)
    one = str(max(before))
    words = [sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"]
    run_logged(words, "cores", tmp_path / "log", Deadline(), {VARIABLE: one})
    assert (tmp_path / "log").read_text() == f"[{one}]\n"
    assert os.sched_getaffinity(0) == before


def test_other_threads_are_left_alone():
    before, seen = os.sched_getaffinity(0), []
    inside, done = threading.Event(), threading.Event()

    def other():
        with on_own_cores({VARIABLE: str(max(before))}):
            inside.set()
            done.wait(10)
            seen.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10) and os.sched_getaffinity(0) == before
    done.set()
    thread.join()
    assert seen == [{max(before)}]


@pytest.mark.parametrize("gpu", [True, False])
def test_places_share_out_the_cores_of_a_gpu_s_host_only(tmp_path, monkeypatch, gpu):
    monkeypatch.setattr(accelerators, "DRIVER", tmp_path if gpu else tmp_path / "none")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    places = Places(1, 2, tmp_path)
    with places.one() as a, places.one() as b:
        found = [mine.get(VARIABLE) for mine in (a, b)]
    assert found == (["0,1,2,3", "4,5,6,7"] if gpu else [None, None])
    with Places(1, 1, tmp_path).one() as alone:
        assert alone == {}


def test_the_cores_that_count_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 3, 8})
    assert count() == 3
