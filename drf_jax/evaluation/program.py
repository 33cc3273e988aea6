"""What a compiled program costs besides its time: compilation, memory, floating-point operations.

With F operations (`drf_jax.flops`) in t seconds on a machine that multiplies large matrices at a rate R, the
utilisation is

    MFU = F / (t R)                                                                                                 (1)

with R measured here rather than taken from a data sheet.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from drf_jax import flops
from drf_jax.distinct import distinct


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program; call it with arrays of the shapes that it was compiled for, equal where they were."""

    run: Callable[..., Any]
    compile_seconds: float | None
    """Tracing, lowering and compiling; None where the persistent cache had the program already."""
    warm_seconds: float | None
    """The same once more, from the persistent cache; None without one."""
    memory_bytes: int
    """Arguments, results and temporaries at once, on one device."""


def entries() -> int:
    """Programs in the persistent compilation cache."""
    folder = jax.config.jax_compilation_cache_dir
    return sum(1 for _ in Path(folder).glob("*-cache")) if folder else 0


def lower(fn: Callable[..., Any], args: tuple) -> tuple[Any, list[int]]:
    """``fn`` lowered as a function of the different leaves of ``args``, and which leaves these are.

    An array that is there twice (a network that drafts and refines) is one argument. And ``lower`` would rebuild trees
    around placeholders, which their types do not expect.
    """
    chosen, rebuild = distinct(args)
    leaves = jax.tree.leaves(args)
    return jax.jit(lambda values: fn(*rebuild(values))).lower([leaves[i] for i in chosen]), chosen


def compile_program(fn: Callable[..., Any], *args: Any, warm: bool = True) -> Program:
    """Compile ``fn`` for these arguments and time it; ``warm`` also times a second start from the persistent cache."""

    def build():
        start = time.perf_counter()
        lowered, chosen = lower(fn, args)
        return lowered.compile(), chosen, time.perf_counter() - start

    before = entries()
    compiled, chosen, first = build()
    cached = bool(jax.config.jax_compilation_cache_dir)
    cold = first if not cached or entries() > before else None
    again = None
    if cached and warm:
        again = first
        if cold is not None:
            jax.clear_caches()
            again = build()[-1]
    memory = compiled.memory_analysis()
    total = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
    )

    def run(*args):
        leaves = jax.tree.leaves(args)
        return compiled([leaves[i] for i in chosen])

    return Program(run, cold, again, int(total))


def operations(fn: Callable[..., Any], *args: Any) -> float:
    """Floating-point operations of ``fn``; ``args`` may be shapes. As in `lower`, no tree holds a placeholder."""
    leaves, structure = jax.tree.flatten(args)
    return flops.operations(lambda *leaves: fn(*structure.unflatten(leaves)), *leaves)


@functools.cache
def matrix_rate(dtype: str = "bfloat16", side: int = 0, chain: int = 8, repeats: int = 10) -> float:
    """Operations a second of a square matrix product on the first device: the best of ``repeats`` chains of them.

    ``side`` 0 is 8192, or 512 on a CPU.
    """
    side = side or (512 if jax.default_backend() == "cpu" else 8192)
    a = jax.random.normal(jax.random.key(0), (side, side)).astype(dtype)
    b = (a / side**0.5).astype(dtype)  # so that the products keep their size

    @jax.jit
    def products(a, b):
        for _ in range(chain):
            a = a @ b
        return a

    jax.block_until_ready(products(a, b))
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(products(a, b))
        best = min(best, time.perf_counter() - start)
    return chain * 2 * side**3 / best
