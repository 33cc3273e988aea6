"""Compile the samplers of a comparison side by side, before anything is sampled or timed.

Compiling keeps one core busy for longer than an accelerator needs for its samples, so a table of many methods waits
for it. Every sampler is called once with a batch and once with a single sample, as the comparison will; JAX keeps what
it compiled.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
from tqdm import tqdm

from drf_jax.sampling.method import Method
from drf_jax.turns import shared

MOST = 16
"""Methods at a time; a thread waits for Python's lock most of the time anyway."""


def workers() -> int:
    """Threads that pay: one on a CPU, where a call costs more than is saved, and where an accelerator is shared."""
    if jax.default_backend() == "cpu" or shared():
        return 1
    return max(1, min(MOST, (os.cpu_count() or 1) // 2))


def compile_side_by_side(
    methods: Sequence[Method], first_call: Callable[[Method], object], threads: int
) -> None:
    """Make the ``first_call`` of every method, so many at a time; nothing if that is one at a time."""
    if threads < 2 or len(methods) < 2:
        return
    with ThreadPoolExecutor(threads) as pool:
        calls = pool.map(first_call, methods)
        for _ in tqdm(calls, "compiling", len(methods), unit="method", disable=None):
            pass
