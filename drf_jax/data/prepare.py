"""``prepare(name, data_dir)``: makes a data set that sources can read, whole or not at all.

    data_dir/name[/title]/version/     records of the images and card.json
    data_dir/.cache/                   downloads, kept for the next time

A recipe works in ``.partial-version`` beside the final folder, which appears by one rename once the
card is written; what a killed preparation left is removed by the next. Two preparations of the same
data set at once are not supported.
"""

import inspect
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from drf_jax.data.card import FILE, Card, read_card, write_card
from drf_jax.data.emoji import VERSION as EMOJI_VERSION
from drf_jax.data.emoji import write_emoji
from drf_jax.data.fashion_mnist import VERSION as FASHION_MNIST_VERSION
from drf_jax.data.fashion_mnist import write_fashion_mnist
from drf_jax.data.image_folder import VERSION as IMAGE_FOLDER_VERSION
from drf_jax.data.image_folder import write_image_folder
from drf_jax.data.official import OFFICIAL, writer
from drf_jax.errors import UserError


class Recipe(NamedTuple):
    """How a data set is made.

    Attributes:
      version: of what it makes.
      write: ``(folder, cache, **options) -> (the folder of the records below folder, their card)``.
    """

    version: str
    write: Callable[..., tuple[Path, Card]]


RECIPES: dict[str, Recipe] = {
    "emoji": Recipe(EMOJI_VERSION, write_emoji),
    "fashion_mnist_idx": Recipe(FASHION_MNIST_VERSION, write_fashion_mnist),
    "image_folder": Recipe(IMAGE_FOLDER_VERSION, write_image_folder),
    **{name: Recipe(official.version, writer(official)) for name, official in OFFICIAL.items()},
}
"""Every data set that can be prepared."""


def prepare(name: str, data_dir: str | Path, title: str = "", **options: Any) -> Path:
    """Prepares a data set, unless that is done already.

    Args:
      name: one of ``RECIPES``.
      data_dir: the folder of all prepared data sets; "~" is the home folder.
      title: tells apart data sets of one recipe with different options; may be empty.
      **options: of the recipe, as values or as texts ("32").

    Returns:
      the folder of the data set; its ``card.json`` tells what is in it.

    Raises:
      UserError: the name or an option is unknown, what the recipe needs is missing, or the data set
        is there with other options.
    """
    if name not in RECIPES:
        raise UserError(
            f"data set {name!r} cannot be prepared; these can: {', '.join(sorted(RECIPES))}"
        )
    recipe = RECIPES[name]
    home = home_of(name, data_dir, title)
    options = _all_options(name, recipe, options)
    final = home / recipe.version
    if final.exists():
        return _check(final, options)
    partial = home / f".partial-{recipe.version}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        cache = Path(data_dir).expanduser() / ".cache"
        records, card = recipe.write(partial, cache, **options)
        write_card(records, replace(card, family=title or card.family, options=options))
        os.rename(records, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def home_of(name: str, data_dir: str | Path, title: str = "") -> Path:
    """The folder of the versions of a data set.

    Raises:
      UserError: the title is no plain folder name.
    """
    if title and not re.fullmatch(r"[A-Za-z][\w-]*", title):
        raise UserError(f"title {title!r} must be a letter, then letters, digits, '_' and '-'")
    return Path(data_dir).expanduser() / name / title


def _all_options(name: str, recipe: Recipe, options: dict[str, Any]) -> dict[str, Any]:
    """All options of the recipe, the defaults too, each of the type that it is annotated with."""
    known = dict(list(inspect.signature(recipe.write).parameters.items())[2:])
    unknown = sorted(options.keys() - known.keys())
    if unknown:
        raise UserError(
            f"data set {name!r} has no option {unknown[0]!r}; known: {', '.join(known) or 'none'}"
        )
    missing = [k for k, p in known.items() if p.default is p.empty and k not in options]
    if missing:
        raise UserError(f"data set {name!r} needs the option {missing[0]!r}")
    given = {key: _parse(key, options[key], known[key].annotation) for key in options}
    return {key: given.get(key, parameter.default) for key, parameter in known.items()}


def _parse(key: str, value: Any, kind: type) -> Any:
    """The value as the recipe wants it; the command line gives texts."""
    try:
        return kind(str(value))
    except ValueError:
        raise UserError(f"option {key}={value!r} must be of the type {kind.__name__}") from None


def _check(final: Path, options: dict[str, Any]) -> Path:
    if not (final / FILE).exists():
        raise UserError(
            f"{final}: exists without {FILE}, so it was not prepared here; choose another data_dir"
        )
    stored = read_card(final).options
    if stored != options:
        raise UserError(
            f"{final}: prepared with {stored}, not {options}; give a title, or remove the folder"
        )
    return final
