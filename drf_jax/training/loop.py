"""The training loop, in one straight line: resume, step, log, hooks, save.

Everything that depends on the step is a function of its index i: the compiled step, the batch and
the key ``fold_in(root_key, i)``. So a resumed run needs the state and nothing else, and on the
same devices it repeats the uninterrupted run bit for bit. Numbers are fetched only at log and save
steps; between them the host runs ahead.
"""

import dataclasses
import signal
import sys
from collections.abc import Callable, Sequence

import jax
from jax.sharding import Mesh
from jaxtyping import PyTree
from tqdm import tqdm

from drf_jax.address import copy_back
from drf_jax.flops import operations
from drf_jax.sharding import shard_batch
from drf_jax.training.checkpoint import Checkpoints
from drf_jax.training.clock import Clock
from drf_jax.training.guard import Guard
from drf_jax.training.held_out import HeldOut
from drf_jax.training.metrics import MetricsLog
from drf_jax.training.optimizer import with_schedule_of
from drf_jax.training.profile import tracing
from drf_jax.training.state import TrainState
from drf_jax.training.step import TrainStep
from drf_jax.training.stop import stop_requests
from drf_jax.training.utilisation import peak_flops, peak_memory
from drf_jax.turns import Turn, shared
from drf_jax.typing import Params, PRNGKey

Hook = Callable[[int, TrainState], None]
WARM_UP = 2
"""Updates before a trace begins: compilation, and what only the first run of a program does."""


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
    max_skipped: int = 10,
    profile: int = 0,
    held_out: HeldOut | None = None,
    hooks: Sequence[Hook] = (),
    label: str = "train",
    compiled: dict[TrainStep, float | None] | None = None,
) -> TrainState:
    """Train until ``steps`` updates are done, going on from the newest readable checkpoint if there is one.

    Updates are made in turn with other processes, where there are some to share with (`drf_jax.turns`).

    Args:
      step_for: the step compiled by ``jit_step`` for update i = 0, 1, …, so that the objective
        may change on the way.
      state: where to start without a checkpoint, laid out on ``mesh``. It is donated.
      frozen: parameters that the objective reads (the teacher's), laid out on ``mesh``; None if
        it reads none.
      batches: this process's host batch of update i.
      root_key: update i uses ``fold_in(root_key, i)``.
      checkpoints: written every ``checkpoint_every`` updates, at the end, and on SIGTERM or Ctrl-C.
      metrics: written every ``log_every`` updates and at the end. ``step`` counts the updates, and ``skipped`` those
        among them that left the state as it was because the loss or the gradient was not finite; the
        seconds and rates are those of `Clock.line`, and ``memory`` the peak in bytes, where known. A line is also
        written whenever ``held_out`` is measured, and has it.
      max_skipped: stop when so many updates in a row were skipped.
      profile: trace so many updates, to look at in XProf; the folder is ``profile`` beside the metrics.
      held_out: what ranks checkpoints; one that is saved when it is due has it as its score.
      hooks: called as ``hook(finished updates, state)`` after each update, before the save; they
        must not keep the state.
      label: the name in the progress bar.
      compiled: steps that have been run in this process, each with its operations where known; more are entered.

    Raises:
      UserError: ``max_skipped`` updates in a row were skipped, the disk is full, or see
        ``Checkpoints.resume``.
      SystemExit: 143 after SIGTERM, 130 after Ctrl-C, once the running update is done and saved.
        A second signal acts at once.
    """
    schedule = state.opt_state
    start, state = checkpoints.resume(state)
    state = dataclasses.replace(state, opt_state=with_schedule_of(state.opt_state, schedule))
    del schedule
    clock = Clock(metrics.rewind(start))
    guard = Guard(max_skipped)
    peak, devices = peak_flops(mesh.devices.flat[0]), mesh.devices.size
    flops = {} if compiled is None else compiled
    folder = metrics.path.parent / "profile"
    with (
        stop_requests() as stop,
        tracing(folder, start + WARM_UP, profile) as trace,
        _progress_bar(label, start, steps) as progress,
        Turn(lasts=True) as mine,
    ):
        _say_where(progress, label, start, mesh)
        for i in range(start, steps):
            trace(i, state)
            with clock.part("compute"):  # the host may wait here for earlier updates
                key = jax.random.fold_in(root_key, i)
            with clock.part("data"):
                batch = shard_batch(batches(i), mesh)
            step = step_for(i)
            if step in flops:
                mine.take()
                with clock.part("compute"), jax.set_mesh(mesh):
                    state, values = step(state, frozen, batch, key)
                clock.update(_examples(batch), flops[step])
            else:
                with clock.part("compile"), jax.set_mesh(mesh):
                    flops[step] = peak and operations(step, state, frozen, batch, key)
                    if shared():  # all is compiled beside the others' turns, and none of it runs before its own
                        jax.block_until_ready(state)
                        mine.give()
                        for each, first in {step: i, **_later(step_for, i, steps, flops)}.items():
                            like = batch if first == i else shard_batch(batches(first), mesh)
                            each.lower(state, frozen, like, key).compile()
                        mine.take()
                    state, values = step(state, frozen, batch, key)
            guard.add(values)
            done = i + 1
            stopped = stop(done)
            measured = held_out is not None and held_out.due(done, steps)
            log = done % log_every == 0 or done == steps or measured
            save = done % checkpoint_every == 0 or done == steps or stopped is not None
            if log or save:
                with clock.part("compute"):
                    messages = guard.look(done)
                for message in messages:
                    _say(progress, label, message)
            if log:
                values = {name: float(value) for name, value in jax.device_get(values).items()}
                values["skipped"] = done - int(state.step)
                if measured:
                    with clock.part("evaluation"):
                        values["held_out"] = held_out.loss(state.ema)
                memory = {} if (bytes_held := peak_memory()) is None else {"memory": bytes_held}
                metrics.write(done, {**values, **clock.line(devices, peak), **memory})
                _report(progress, label, done, values["loss"])
            with clock.part("samples"):
                for hook in hooks:
                    hook(done, state)
            if save:
                with clock.part("checkpoint"):
                    copy_back()
                    checkpoints.save(done, state, values["held_out"] if measured else None)
            progress.update()
            if stopped is not None and done < steps:
                checkpoints.wait()
                name = signal.Signals(stopped).name
                _say(progress, label, f"{name} after step {done}; saved in {checkpoints.directory}")
                raise SystemExit(128 + stopped)
    checkpoints.wait()
    return state


def every(n: int, hook: Hook) -> Hook:
    """The hook that calls ``hook`` after updates n, 2n, …"""

    def run(step: int, state: TrainState) -> None:
        if step % n == 0:
            hook(step, state)

    return run


def _later(step_for, start, stop, known):
    """The steps that are not known, each with the update it comes first at."""
    found = {}
    for i in range(start, stop):
        step = step_for(i)
        if step not in known:
            found.setdefault(step, i)
    return found


def _examples(batch):
    leaves = jax.tree.leaves(batch)
    return leaves[0].shape[0] if leaves else 0


def _say_where(progress, label, start, mesh):
    if start < progress.total and (start or mesh.size > 1):
        sizes = " ".join(f"{axis}={size}" for axis, size in mesh.shape.items())
        kind = mesh.devices.flat[0].device_kind
        where = f"{mesh.size} x {kind}, mesh {sizes}, {jax.process_count()} process(es)"
        _say(progress, label, f"from step {start} of {progress.total} on {where}")


def _say(progress, label, message):
    if jax.process_index() == 0:
        progress.write(f"{label}: {message}", file=sys.stderr)


def _progress_bar(label, start, steps):
    """On stderr; hidden where that is not a terminal (lines are printed) and on other processes."""
    hidden = jax.process_index() > 0 or not sys.stderr.isatty()
    return tqdm(total=steps, initial=start, desc=label, disable=hidden, file=sys.stderr)


def _report(progress, label, step, loss):
    if not progress.disable:
        progress.set_postfix(loss=f"{loss:.4g}", refresh=False)
    elif jax.process_index() == 0:
        print(f"{label}: step {step}/{progress.total} loss {loss:.4g}", file=sys.stderr)
