"""``drf`` commands as processes of their own, each with a log file and a time to be done by.

A process that is still running then gets SIGTERM, on which a training saves and leaves (`drf_jax.training.stop`).
"""

import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from drf_jax.errors import UserError
from drf_jax.runs.cores import on_own_cores

PROGRAM = (sys.executable, "-c", "from drf_jax.cli.main import run; run()")
GRACE = 8.0
"""Seconds between SIGTERM and SIGKILL."""
POLL = 0.2
NOTHING: Mapping[str, str] = MappingProxyType({})


class OutOfTime(Exception):
    """The time is up; what was done is saved."""


class Deadline:
    """When to be done: so many seconds from now, or as soon as `come` is called."""

    def __init__(self, seconds: float = math.inf):
        self._end = time.monotonic() + seconds

    def come(self, *_: object) -> None:
        """Now; may serve as a signal's handler."""
        self._end = -math.inf

    def left(self) -> float:
        """Seconds until then."""
        return self._end - time.monotonic()

    def check(self) -> None:
        """Raise `OutOfTime` if it has come."""
        if self.left() <= 0:
            raise OutOfTime


def run_drf(
    words: Sequence[str], log: Path, deadline: Deadline, environment: Mapping[str, str] = NOTHING
) -> None:
    """Run ``drf WORDS``, as `run_logged` does."""
    run_logged([*PROGRAM, *words], f"drf {words[0]}", log, deadline, environment)


def run_logged(
    command: Sequence[str],
    name: str,
    log: Path,
    deadline: Deadline,
    environment: Mapping[str, str] = NOTHING,
) -> None:
    """Run a command; its output is appended to ``log``, whose folder is made.

    ``environment`` is what differs from this process's.

    Raises:
      OutOfTime: it was not done in time, and was stopped.
      UserError: it failed; the message ends with the last line of the log.
    """
    deadline.check()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        theirs = {**os.environ, **environment}
        with on_own_cores(environment):
            process = subprocess.Popen(command, stdout=file, stderr=file, env=theirs)
        try:
            while process.poll() is None:
                deadline.check()
                time.sleep(POLL)
        finally:
            stop(process)
    if process.returncode:
        deadline.check()  # a signal to all of the terminal's processes
        lines = log.read_text(errors="replace").strip().splitlines()
        raise UserError(
            f"{name} failed ({process.returncode}), see {log}: {lines[-1] if lines else ''}"
        )


def stop(process: subprocess.Popen) -> None:
    """SIGTERM to a process that still runs, and SIGKILL if it does not leave."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
