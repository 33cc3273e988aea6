"""The two ways to run a sampler's loops, with one meaning.

``COMPILED`` is `jax.lax`: one program, compile time independent of the number of steps; use it under ``jax.jit``.
``PYTHON`` runs the same bodies from Python, each network call a jitted program of its own. XLA's CPU backend runs
convolutions inside a compiled loop some 20 times slower than outside, so convolutional networks on a CPU want
``PYTHON``; everything else wants ``COMPILED``.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Loop(NamedTuple):
    scan: Callable
    while_loop: Callable


@jax.jit
def stack(*trees):
    """Trees of equal structure as one with a new leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def python_scan(body, carry, xs):
    """``jax.lax.scan`` as a Python loop."""
    length = len(jax.tree.leaves(xs)[0])
    outputs = []
    for i in range(length):
        carry, y = body(carry, jax.tree.map(lambda leaf: leaf[i], xs))  # noqa: B023
        outputs.append(y)
    return carry, stack(*outputs)


def python_while_loop(condition, body, carry):
    """``jax.lax.while_loop`` as a Python loop."""
    while condition(carry):
        carry = body(carry)
    return carry


COMPILED = Loop(jax.lax.scan, jax.lax.while_loop)
PYTHON = Loop(python_scan, python_while_loop)
LOOPS = {"compiled": COMPILED, "python": PYTHON}
