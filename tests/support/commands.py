"""drf as processes of their own, and what the runs that they leave behind hold."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from drf_jax.training.metrics import is_timing

ENTRY = "from drf_jax.cli.main import run; run()"


@contextlib.contextmanager
def commands() -> Iterator[Callable[..., subprocess.Popen]]:
    """``start(words, environment)``: drf with these words and variables; what still runs at the end is killed."""
    started = []

    def start(words, environment):
        argv = [sys.executable, "-c", ENTRY, *map(str, words)]
        env = {**os.environ, **environment}
        started.append(subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, text=True))
        return started[-1]

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.wait()
            process.stderr.close()


def finish(process: subprocess.Popen, code: int = 0) -> str:
    """What a process says on stderr; it ends with ``code``."""
    _, err = process.communicate(timeout=250)
    assert process.returncode == code, err
    return err


def state(workdir: Path, step: int) -> dict[str, np.ndarray]:
    """Every array of a checkpoint, by its path."""
    with ocp.StandardCheckpointer() as reader:
        tree = reader.restore(workdir / "checkpoints" / str(step) / "default")
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def curve(workdir: Path) -> list[dict]:
    """The lines of metrics.jsonl without what depends on the clock or the machine."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in line if not is_timing(name)} for line in lines]
