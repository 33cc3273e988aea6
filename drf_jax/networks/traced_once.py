"""Blocks that are alike, traced once: tracing and lowering a deep network then takes a fraction of the time.

Under `jax.jit` a function that was traced for arguments of the same shapes is not traced again, and is lowered to one
function that is called. XLA puts it in at every call, so the program that runs is the same; its operations all have the
name of the first such block.
"""

from typing import TypeVar

import flax.linen as nn
import jax

Block = TypeVar("Block", bound=type[nn.Module])


def traced_once(block: Block, trunk: nn.Module, x: jax.Array) -> Block:
    """A block's class, for the blocks of ``trunk`` in the call that asks, whose input is x.

    It is a new class for every call of the trunk, so that what was traced under one interception of its operations
    (``quantised``) is not taken for another. It is the plain class where nothing is traced, as it would be compiled in
    every such call, and where parameters are initialised, as Flax would draw others.
    """
    plain = trunk.is_initializing() or not isinstance(x, jax.core.Tracer)
    return block if plain else nn.jit(block)
