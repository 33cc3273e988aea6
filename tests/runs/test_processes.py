import signal
import sys
import threading

import pytest

from drf_jax.errors import UserError
from drf_jax.runs import processes
from drf_jax.runs.processes import Deadline, OutOfTime, run_drf

SOON = 60.0


@pytest.fixture
def program(monkeypatch):
    """Run Python code in the place of ``drf``."""

    def use(code):
        monkeypatch.setattr(processes, "PROGRAM", (sys.executable, "-c", code))

    return use


def test_the_output_of_a_command_is_in_its_log(program, tmp_path):
    program("import sys; print('done', *sys.argv[1:])")
    for word in ("a", "b"):
        run_drf(["train", word], tmp_path / "logs" / "x.log", Deadline(SOON))
    assert (tmp_path / "logs" / "x.log").read_text() == "done train a\ndone train b\n"


def test_a_failure_ends_with_the_last_line_of_the_log(program, tmp_path):
    program("import sys; print('first'); sys.exit('config.seed is wrong')")
    with pytest.raises(UserError, match=r"drf train failed \(1\).*config.seed is wrong"):
        run_drf(["train"], tmp_path / "x.log", Deadline(SOON))


def test_a_command_that_is_not_done_in_time_may_save(program, tmp_path):
    program(
        "import signal, sys, time\n"
        "def leave(*_): print('saved', flush=True); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "print('ready', flush=True); time.sleep(600)"
    )
    with pytest.raises(OutOfTime):
        run_drf(["train"], tmp_path / "x.log", Deadline(2.0))
    assert (tmp_path / "x.log").read_text() in ("ready\nsaved\n", "")  # "": not started yet


def test_nothing_starts_after_the_end(program, tmp_path):
    program("print('started')")
    with pytest.raises(OutOfTime):
        run_drf(["train"], tmp_path / "x.log", Deadline(0.0))
    assert not (tmp_path / "x.log").exists()


def test_a_signal_makes_the_time_come(program, tmp_path):
    program("import time; time.sleep(600)")
    deadline = Deadline()
    assert deadline.left() > 1e9
    timer = threading.Timer(0.5, deadline.come, (signal.SIGTERM, None))
    timer.start()
    with pytest.raises(OutOfTime):
        run_drf(["train"], tmp_path / "x.log", deadline)
    timer.join()
    with pytest.raises(OutOfTime):
        deadline.check()
