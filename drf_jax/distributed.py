"""Several processes as one program: JAX's coordination service, with a time-out that says what to look at.

Every process runs the same command; JAX then sees the devices of all. On Cloud TPU, Slurm, GKE and Open MPI it finds
the others by itself; elsewhere each process is given the address of the first one, how many there are and which it is.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import jax
from jax.experimental import multihost_utils

from drf_jax.errors import UserError

TIMEOUT = 300
"""Seconds to wait for the other processes."""


def connect(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    timeout: int = TIMEOUT,
) -> None:
    """Join the other processes; before anything else uses a device.

    Args:
      coordinator: ``host:port`` of process 0, which every other must reach; None: found by JAX.
      processes: how many there are; None: found by JAX.
      process: which one this is, 0 <= process < processes; None: found by JAX.
      timeout: seconds to wait for all of them.

    Raises:
      UserError: JAX cannot find out who the others are.
      SystemExit: 2, at once, when they did not come in time.
    """
    given = {"coordinator": coordinator, "processes": processes, "process": process}
    missing = [name for name, value in given.items() if value is None]
    if 0 < len(missing) < len(given):
        raise UserError(
            f"--{missing[0]} is missing: give all of {', '.join(f'--{n}' for n in given)}, or none"
        )
    if processes is not None and not 0 <= process < processes:
        raise UserError(
            f"--process={process}: must be at least 0 and below --processes={processes}"
        )
    where = (
        "found by JAX"
        if coordinator is None
        else f"{coordinator} as process {process} of {processes}"
    )
    _say(f"waiting up to {timeout} s for the other processes ({where})")
    start = time.perf_counter()
    # JAX's own time-out ends the process with a stack trace of its C++ code.
    watch = threading.Timer(timeout, _give_up, [timeout])
    watch.daemon = True
    watch.start()
    try:
        jax.distributed.initialize(
            coordinator, processes, process, initialization_timeout=timeout + 60
        )
    except (ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"--distributed: {reason}; where JAX finds no cluster, give --coordinator, --processes and --process"
        ) from None
    finally:
        watch.cancel()
    _say(
        f"process {jax.process_index()} of {jax.process_count()}: {jax.local_device_count()} of"
        f" {jax.device_count()} devices ({jax.devices()[0].device_kind}), after {time.perf_counter() - start:.1f} s"
    )


@contextmanager
def in_turn() -> Iterator[None]:
    """The first process runs the block before the others, which then find the files that it made."""
    first = jax.process_index() == 0
    if not first:
        multihost_utils.sync_global_devices("drf_jax: in turn")
    yield
    if first and jax.process_count() > 1:
        multihost_utils.sync_global_devices("drf_jax: in turn")


def _give_up(timeout: int) -> None:
    _say(
        f"--distributed: the processes did not find each other within {timeout} s: is every one started, with the same"
        " --processes, and does it reach the port of the coordinator?"
    )
    os._exit(2)


def leave(code: int) -> NoReturn:
    """Exit. After an error the other processes are not waited for: they wait for this one."""
    if code and jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _say(message: str) -> None:
    print(f"drf: {message}", file=sys.stderr, flush=True)
