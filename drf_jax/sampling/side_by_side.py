"""Compile programs side by side, before anything is sampled or timed.

Compiling keeps one core busy for longer than an accelerator needs for its samples, so a table of many methods waits
for it, and so does the first image. Tracing and lowering hold Python's lock, so programs are lowered one after the
other while those before them are being compiled: the longest should come first. Programs are compiled for the
arguments that they will be called with; JAX keeps them. Nothing is called here: what one thread launches would get
into the CUDA graphs that another one records.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
from tqdm import tqdm

MOST = 16
"""Threads; they wait for Python's lock most of the time anyway."""
LOWERING = threading.Lock()
Call = tuple[jax.tree_util.Partial, tuple]
"""A compiled function bound to its networks, as of `drf_jax.sampling.method`, and its further arguments."""


def workers(cores: int) -> int:
    """Threads that pay: one on a CPU, which compiles fast and has few cores, else half of this process's cores."""
    return 1 if jax.default_backend() == "cpu" else max(1, min(MOST, cores // 2))


def compile_call(call: Call) -> None:
    """Compile the program of this call."""
    bound, args = call
    with LOWERING:
        lowered = bound.func.lower(*bound.args, *args)
    lowered.compile()


def compile_side_by_side(calls: Sequence[Call], threads: int) -> None:
    """Compile the programs of all ``calls``, so many at a time; nothing if that is one at a time."""
    if threads < 2 or len(calls) < 2:
        return
    with ThreadPoolExecutor(threads) as pool:
        done = pool.map(compile_call, calls)
        for _ in tqdm(done, "compiling", len(calls), unit="program", disable=None):
            pass
