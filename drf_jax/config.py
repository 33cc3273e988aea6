"""Sections of a config, read strictly into typed dataclasses.

A `ConfigDict` section becomes a frozen dataclass with the same field names. An unknown key, a missing one and a value
of another type are errors that name the key and say what is allowed: a key that nobody reads is a bug.
"""

import contextlib
import dataclasses
import json
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from ml_collections import ConfigDict

from drf_jax.errors import UserError

T = TypeVar("T")

Mapping.register(ConfigDict)  # it has a mapping's methods


def to_dict(config: Mapping[str, Any]) -> dict[str, Any]:
    """Plain dictionaries all the way down."""
    return config.to_dict() if isinstance(config, ConfigDict) else dict(config)


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as JSON would give it back.

    Raises:
      UserError: it has a value that JSON does not know.
    """
    try:
        return json.loads(json.dumps(to_dict(config)))
    except TypeError as error:
        raise UserError(f"config: {error}; use numbers, strings, lists and sections") from None


def changed(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A config, `plain`, in which dotted keys have other values."""
    made = ConfigDict(plain(config))
    made.update_from_flattened_dict(dict(changes))
    return plain(made)


def read(cls: type[T], section: Any, path: str) -> T:
    """Make ``cls`` from a section; ``path`` (such as ``config.train``) names it in messages.

    Raises:
      UserError: unknown or missing key, or a value of the wrong type.
    """
    if not isinstance(section, Mapping):
        raise UserError(f"{path} = {section!r}: must be a section with keys")
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
    if hint in (dict, type(None)):
        return "a section" if hint is dict else "None"
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
    elif hint is dict and isinstance(value, Mapping):
        return to_dict(value)
    elif hint in (int, float) and isinstance(value, bool):
        pass
    elif hint is float and isinstance(value, int | float):
        return float(value)
    elif isinstance(hint, type) and isinstance(value, hint):
        return value
    raise UserError(f"{path} = {value!r}: must be {describe(hint)}")


def choose(table: Mapping[str, T], name: Any, path: str) -> T:
    """``table[name]``, or an error that lists the names."""
    if not isinstance(name, str) or name not in table:
        raise UserError(f"{path} = {name!r}: choose one of {', '.join(sorted(table))}")
    return table[name]


def at_least(bound: int, section: Any, path: str, *names: str) -> None:
    """Raise unless these fields of a section's dataclass are at least ``bound``."""
    for name in names:
        if getattr(section, name) < bound:
            raise UserError(f"{path}.{name} = {getattr(section, name)}: must be at least {bound}")


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Errors of the user that happen inside and name no key of the config are told to be at ``path``."""
    try:
        yield
    except UserError as error:
        message = str(error)
        raise UserError(
            message if message.startswith("config.") else f"{path}: {message}"
        ) from None


def split_name(section: Any, path: str) -> tuple[str, dict[str, Any]]:
    """The section's ``name`` and the rest of it."""
    if not isinstance(section, Mapping):
        raise UserError(f"{path} = {section!r}: must be a section with a name")
    rest = dict(section)
    if "name" not in rest:
        raise UserError(f"{path}.name is missing")
    return rest.pop("name"), rest
