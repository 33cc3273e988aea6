"""The teacher's trajectories, made once and trained on many times.

Trajectory i starts at the noise of sample index i and is conditioned like example i of the data (modulo its length), so
the cache depends on the teacher, the grid and the seed alone. It is one ``.npy`` array ``[n, nodes, *state]``, with a
JSON file beside it that says what it holds, how far it is and the seconds that a trajectory takes: a killed run goes on
where it stopped. A training reads it into memory where it fits.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int64, PyTree
from tqdm import tqdm

from drf_jax.atomic import replacing
from drf_jax.data.ahead import read_ahead
from drf_jax.data.order import shuffled_rows
from drf_jax.errors import UserError
from drf_jax.noise import initial_noise, sample_keys
from drf_jax.turns import Turn
from drf_jax.typing import Cond, PRNGKey, State

Walk = Callable[[State, Cond], Float[jax.Array, "nodes b *state"]]
"""Unit noise and conditioning to the kept states of the teacher's walk."""


SECONDS = "seconds_each"
"""In the JSON file: the seconds of a trajectory; those of a batch, after the first if there is another, times the
batches, over the trajectories."""
PROGRESS = {"done", SECONDS}
"""What the JSON file says besides what its trajectories are."""
MEMORY_SHARE = 0.25
"""Of the machine's memory: a larger cache is left in its file."""


class Trajectories:
    """A finished cache; ``cond`` maps sample indices to their conditioning.

    It is memory mapped if it is larger than ``MEMORY_SHARE``. Mapped pages are read one by one as batches ask for
    them, which took several times as long as an update in the first epoch.
    """

    def __init__(self, path: Path, cond: Callable[[np.ndarray], dict[str, np.ndarray]]):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        fits = path.stat().st_size <= MEMORY_SHARE * memory
        self.states = np.load(path, mmap_mode=None if fits else "r")
        self.cond = cond

    def __len__(self) -> int:
        return len(self.states)

    def gather(self, indices: Int64[np.ndarray, "n"]) -> dict[str, Any]:
        """``{"states": float32 [n, nodes, *state], "cond": {name: [n, ...]}}``."""
        return {"states": self.states[indices].astype(np.float32), "cond": self.cond(indices)}


def make_trajectories(
    path: Path,
    walk: Walk,
    root: PRNGKey,
    count: int,
    shape: tuple[int, ...],
    cond: Callable[[np.ndarray], PyTree],
    provenance: dict[str, Any],
    batch_size: int = 256,
    dtype: str = "float32",
) -> None:
    """Write ``count`` trajectories to ``path``, going on with what is there.

    The first batch compiles. The others are timed, and made in turn with other processes (`drf_jax.turns`).

    Args:
      path: the ``.npy`` file.
      walk: the teacher's sampler; always called with ``batch_size`` samples.
      root: key of the noises, sample i from ``fold_in(root, i)``.
      shape: ``[nodes, *state]``.
      cond: sample indices to conditioning.
      provenance: what the trajectories depend on; a cache with another one is refused.

    Raises:
      UserError: the file belongs to another teacher, grid or seed, or was cut off.
    """
    note = path.with_suffix(".json")
    wanted = {**provenance, "count": count, "shape": list(shape), "dtype": dtype}
    done = _done(path, note, wanted)
    if done is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        note.unlink(missing_ok=True)
        np.lib.format.open_memmap(path, "w+", dtype, (count, *shape))
        done = 0
    mapped = np.load(path, mmap_mode="r")
    start, size = mapped.offset, mapped[:1].nbytes
    del mapped
    bar = tqdm(total=count, initial=done, desc="trajectories", disable=None)
    with bar as progress, path.open("r+b") as file, Turn() as mine:
        each, compiled = made_with(path).get(SECONDS), False  # of an earlier process
        began, timed, batches = time.perf_counter(), 0, -(-count // batch_size)
        while done < count:
            index = np.arange(done, done + batch_size)
            noise = initial_noise(sample_keys(root, index), shape[1:])
            kept = np.asarray(jnp.moveaxis(walk(noise, cond(index)), 0, 1))
            stop = min(done + batch_size, count)
            file.seek(start + done * size)
            file.write(kept[: stop - done].astype(dtype).tobytes())
            progress.update(stop - done)
            done, timed = stop, timed + 1
            if compiled or each is None:
                each = (time.perf_counter() - began) / timed * batches / count
            if done == count or (done // batch_size) % 16 == 0:
                file.flush()
                os.fsync(file.fileno())
                facts = {**wanted, "done": done, SECONDS: each}
                with replacing(note) as text:
                    text.write(json.dumps(facts, indent=1).encode())
            if not compiled and done < count:
                mine.take()
                compiled, began, timed = True, time.perf_counter(), 0


def made_with(path: Path) -> dict[str, Any]:
    """What the JSON file beside ``path`` says of the trajectories; nothing where there is none.

    Raises:
      UserError: it is damaged.
    """
    note = path.with_suffix(".json")
    try:
        return json.loads(note.read_text()) if note.exists() else {}
    except ValueError as error:
        raise UserError(
            f"trajectories in {path}: {note.name} cannot be read ({error}); delete the file"
        ) from None


def _done(path, note, wanted):
    """How many trajectories are there; None where there is no cache."""
    if not note.exists() or not path.exists():
        return None
    found = made_with(path)
    try:
        stored = np.load(path, mmap_mode="r").shape
    except (OSError, ValueError) as error:
        raise UserError(
            f"trajectories in {path} cannot be read ({error}); delete the file"
        ) from None
    done = found["done"]
    for key in (key for key in {**wanted, **found} if key not in PROGRESS):
        if found.get(key) != wanted.get(key):
            raise UserError(
                f"trajectories in {path} have {key} = {found.get(key)!r}, not {wanted.get(key)!r}; delete the file"
            )
    if stored != (wanted["count"], *wanted["shape"]):
        raise UserError(f"trajectories in {path} have shape {stored}; delete the file")
    return done


def trajectory_batches(
    source: Trajectories, batch_size: int, seed: int
) -> Callable[[int], dict[str, Any]]:
    """Shuffled, endless batches as a function of the step, as `drf_jax.data.pipeline.batches`."""
    if batch_size % jax.process_count():
        raise UserError(f"batch_size {batch_size} must be a multiple of {jax.process_count()}")
    rows = shuffled_rows(len(source), batch_size // jax.process_count(), seed)
    return read_ahead(lambda i: source.gather(rows(i)))
