"""Dataclasses as pytrees whose structures are equal only if their classes are the same.

``jax.tree_util.register_dataclass`` does not promise that: in jaxlib 0.10.2 the structures of two classes compare equal
whatever the classes, if they have equally many fields and equal static values; their hashes alone differ. A table
looks at a few bits of a hash and then asks for equality, so ``jax.jit``, given first the one and then the other, runs
for the second what was traced for the first, in about one process of a hundred. A node that is registered with
functions of its own does compare its class.
"""

import dataclasses
from typing import Any, TypeVar

import jax

Class = TypeVar("Class", bound=type)


def static(**options: Any) -> dataclasses.Field:
    """A dataclass field that is part of a pytree's structure, not a leaf; ``options`` as of ``dataclasses.field``."""
    return dataclasses.field(metadata={"static": True}, **options)


def register(cls: Class) -> Class:
    """Make a dataclass a pytree: its `static` fields are structure, the others are children.

    Paths to its leaves are those of ``jax.tree_util.register_dataclass``.
    """
    fields = dataclasses.fields(cls)
    meta = tuple(field.name for field in fields if field.metadata.get("static", False))
    data = tuple(field.name for field in fields if field.name not in meta)
    keys = tuple(map(jax.tree_util.GetAttrKey, data))

    def read(tree, names):
        return tuple(getattr(tree, name) for name in names)

    def flatten(tree):
        return read(tree, data), read(tree, meta)

    def flatten_with_keys(tree):
        return tuple(zip(keys, read(tree, data), strict=True)), read(tree, meta)

    def unflatten(values, children):
        tree = object.__new__(cls)  # not __init__: JAX puts all sorts of things where arrays are
        for names, found in ((data, children), (meta, values)):
            for name, value in zip(names, found, strict=True):
                object.__setattr__(tree, name, value)
        return tree

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls
