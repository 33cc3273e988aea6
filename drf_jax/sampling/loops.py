"""The ways to run a sampler's loops, with one meaning.

``COMPILED`` is `jax.lax`: one program, compile time independent of the number of steps; use it under ``jax.jit``.
``PYTHON`` runs the same bodies from Python, each network call a jitted program of its own. XLA's CPU backend runs
convolutions inside a compiled loop some 20 times slower than outside, so convolutional networks on a CPU want
``PYTHON``; everything else wants ``COMPILED``. ``PARTS`` is ``PYTHON`` with the two calls of a draft–refine round
apart, which can be compiled side by side (`drf_jax.sampling.parts`).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

Carry = TypeVar("Carry")


class Loop(NamedTuple):
    scan: Callable
    while_loop: Callable
    whole_rounds: bool = True
    """Whether a round of draft–refine sampling is one program, where Python runs the loop."""


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


@functools.partial(jax.jit, static_argnames=("batch_axes",))
def where_active(active: Bool[Array, "b"], after: Carry, before: Carry, batch_axes: tuple) -> Carry:
    """``after`` for the active samples; ``batch_axes`` says, part by part, which axis is the samples'."""

    def choose(axis, after, before):
        mask = lambda leaf: jnp.expand_dims(active, [i for i in range(leaf.ndim) if i != axis])
        return jax.tree.map(lambda new, old: jnp.where(mask(new), new, old), after, before)

    return jax.tree.map(choose, batch_axes, after, before)


def while_any(
    loop: Loop,
    active: Callable[[Carry], Bool[Array, "b"]],
    body: Callable[[Carry], Carry],
    carry: Carry,
    batch_axes: tuple,
) -> Carry:
    """Repeat ``body`` until no sample is active; a sample that is done stays as it is.

    So what a sample becomes does not depend on the batch it is in.

    Args:
      loop: compiled or Python.
      active: which samples of a carry are to go on.
      body: one iteration of all samples.
      carry: a tuple, its parts pytrees whose leaves all have the samples on the same axis.
      batch_axes: that axis for each part, in a tuple of the same kind.
    """

    def masked(carry):
        return where_active(active(carry), body(carry), carry, batch_axes)

    return loop.while_loop(lambda carry: jnp.any(active(carry)), masked, carry)


COMPILED = Loop(jax.lax.scan, jax.lax.while_loop)
PYTHON = Loop(python_scan, python_while_loop)
PARTS = PYTHON._replace(whole_rounds=False)
LOOPS = {"compiled": COMPILED, "python": PYTHON}
