"""Sections of a config, read strictly into typed dataclasses.

A `ConfigDict` section becomes a frozen dataclass with the same field names. An unknown key, a missing one and a value of
another type are errors that name the key and say what is allowed: a key that nobody reads is a bug.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from drf_jax.errors import UserError

T = TypeVar("T")


def read(cls: type[T], section: Mapping[str, Any], path: str) -> T:
    """Make ``cls`` from a section; ``path`` (such as ``config.train``) names it in messages.

    Raises:
      UserError: unknown or missing key, or a value of the wrong type.
    """
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    for key in section:
        if key not in fields:
            raise UserError(f"{path}.{key}: unknown key; allowed: {', '.join(fields)}")
    values = {}
    for name, field in fields.items():
        if name in section:
            values[name] = convert(section[name], hints[name], f"{path}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UserError(f"{path}.{name} is missing; it must be {describe(hints[name])}")
    return cls(**values)


def describe(hint: Any) -> str:
    """A type as a message names it."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(describe(h) for h in typing.get_args(hint))
    if hint is type(None):
        return "None"
    return hint.__name__ if typing.get_origin(hint) is None else str(hint)


def convert(value: Any, hint: Any, path: str) -> Any:
    """``value`` as the type ``hint``: exact, but an int serves as a float and a list as a tuple."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for option in args:
            try:
                return convert(value, option, path)
            except UserError:
                continue
    elif origin is tuple and isinstance(value, list | tuple):
        return tuple(convert(v, args[0], f"{path}[{i}]") for i, v in enumerate(value))
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    elif isinstance(hint, type) and hint not in (int, float) and isinstance(value, hint):
        return value
    raise UserError(f"{path} = {value!r}: must be {describe(hint)}")


def choose(table: Mapping[str, T], name: Any, path: str) -> T:
    """``table[name]``, or an error that lists the names."""
    if name not in table:
        raise UserError(f"{path} = {name!r}: choose one of {', '.join(sorted(table))}")
    return table[name]


def split_name(section: Mapping[str, Any], path: str) -> tuple[str, dict[str, Any]]:
    """The section's ``name`` and the rest of it."""
    rest = dict(section)
    if "name" not in rest:
        raise UserError(f"{path}.name is missing")
    return rest.pop("name"), rest
