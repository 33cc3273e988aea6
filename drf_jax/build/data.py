"""The data of a config and its conditioning."""

import inspect
from collections.abc import Mapping
from typing import Any

from drf_jax.config import split_name
from drf_jax.data.prepare import RECIPES
from drf_jax.data.source import SOURCES, Source, load_source
from drf_jax.errors import UserError


def source(config: Mapping[str, Any]) -> Source:
    name, rest = split_name(config["data"], "config.data")
    try:
        return load_source(name, **rest)
    except TypeError as error:
        options = inspect.signature(SOURCES[name]).parameters
        allowed = ", ".join(["limit", *options])
        raise UserError(f"config.data: {error}; allowed: name, {allowed}") from None


def split(config: Mapping[str, Any], name: str) -> Source:
    """Another split of ``config.data``.

    Raises:
      UserError: the data set has no such split, or no splits.
    """
    if config["data"]["name"] not in RECIPES:
        raise UserError(f"data set {config['data']['name']!r} has no splits, so no {name!r}")
    return source({"data": {**config["data"], "split": name}})
