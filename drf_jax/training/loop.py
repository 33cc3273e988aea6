"""The training loop, in one straight line: resume, step, log, hooks, save.

Everything that depends on the step is a function of its index i: the compiled step, the batch and
the key ``fold_in(root_key, i)``. So a resumed run needs the state and nothing else, and on the
same devices it repeats the uninterrupted run bit for bit. Numbers are fetched only at log and save
steps; between them the host runs ahead.
"""

import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import jax
from jax.sharding import Mesh
from jaxtyping import PyTree
from tqdm import tqdm

from drf_jax.errors import UserError
from drf_jax.sharding import shard_batch
from drf_jax.training.checkpoint import Checkpoints, abstract
from drf_jax.training.metrics import MetricsLog
from drf_jax.training.state import TrainState
from drf_jax.training.step import TrainStep
from drf_jax.typing import Params, PRNGKey

Hook = Callable[[int, TrainState], None]


def train(
    step_for: Callable[[int], TrainStep],
    state: TrainState,
    frozen: Params,
    batches: Callable[[int], PyTree],
    *,
    steps: int,
    root_key: PRNGKey,
    mesh: Mesh,
    checkpoints: Checkpoints,
    metrics: MetricsLog,
    log_every: int = 100,
    checkpoint_every: int = 1000,
    hooks: Sequence[Hook] = (),
    label: str = "train",
) -> TrainState:
    """Train until ``steps`` updates are done, going on from the newest checkpoint if there is one.

    Args:
      step_for: the step compiled by ``jit_step`` for update i = 0, 1, …, so that the objective
        may change on the way.
      state: where to start without a checkpoint, laid out on ``mesh``. It is donated.
      frozen: parameters that the objective reads (the teacher's), laid out on ``mesh``; None if
        it reads none.
      batches: this process's host batch of update i.
      root_key: update i uses ``fold_in(root_key, i)``.
      checkpoints: written every ``checkpoint_every`` updates, at the end, and on SIGTERM or Ctrl-C.
      metrics: written every ``log_every`` updates and at the end; ``step`` counts the finished
        updates.
      hooks: called as ``hook(finished updates, state)`` after each update, before the save; they
        must not keep the state.
      label: the name in the progress bar.

    Raises:
      UserError: the loss or the gradient is not finite (nothing is saved then), or see
        ``Checkpoints.restore``.
      SystemExit: 143 after SIGTERM, 130 after Ctrl-C, once the running update is done and saved.
        A second signal acts at once.
    """
    start = checkpoints.latest() or 0
    if start:
        state = checkpoints.restore(abstract(state), start)
    metrics.rewind(start)
    with _signals() as caught, _progress_bar(label, start, steps) as progress:
        for i in range(start, steps):
            key = jax.random.fold_in(root_key, i)
            batch = shard_batch(batches(i), mesh)
            with jax.set_mesh(mesh):
                state, values = step_for(i)(state, frozen, batch, key)
            done = i + 1
            log = done % log_every == 0 or done == steps
            save = done % checkpoint_every == 0 or done == steps or bool(caught)
            if log or save:
                values = {name: float(value) for name, value in jax.device_get(values).items()}
                _check_finite(values, done, checkpoints)
            if log:
                metrics.write(done, values)
                _report(progress, label, done, values["loss"])
            for hook in hooks:
                hook(done, state)
            if save:
                checkpoints.save(done, state)
            progress.update()
            if caught and save and done < steps:
                name = signal.Signals(caught[0]).name
                progress.write(
                    f"{label}: {name} after step {done}; saved in {checkpoints.directory}",
                    file=sys.stderr,
                )
                raise SystemExit(128 + caught[0])
    return state


def every(n: int, hook: Hook) -> Hook:
    """The hook that calls ``hook`` after updates n, 2n, …"""

    def run(step: int, state: TrainState) -> None:
        if step % n == 0:
            hook(step, state)

    return run


def _check_finite(values, step, checkpoints):
    bad = next((k for k in ("loss", "grad_norm") if not math.isfinite(values[k])), None)
    if bad is not None:
        latest = checkpoints.latest()
        good = "none" if latest is None else f"step {latest} in {checkpoints.directory}"
        raise UserError(
            f"training: {bad} is {values[bad]} at step {step} (checked at log and save steps only);"
            f" last good checkpoint: {good}; a lower learning rate or clip may help"
        )


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect the first SIGTERM or SIGINT instead of dying of it; only the main thread can."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def note(number, _):
        caught.append(number)
        for each, handler in previous.items():
            signal.signal(each, handler)

    for number in previous:
        signal.signal(number, note)
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _progress_bar(label, start, steps):
    """On stderr; hidden where that is not a terminal (lines are printed) and on other processes."""
    hidden = jax.process_index() > 0 or not sys.stderr.isatty()
    return tqdm(total=steps, initial=start, desc=label, disable=hidden, file=sys.stderr)


def _report(progress, label, step, loss):
    if not progress.disable:
        progress.set_postfix(loss=f"{loss:.4g}", refresh=False)
    elif jax.process_index() == 0:
        print(f"{label}: step {step}/{progress.total} loss {loss:.4g}", file=sys.stderr)
