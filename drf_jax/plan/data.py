"""The shapes of a config's data, on a machine that may not have the data."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from drf_jax import build
from drf_jax.data.shapes import KNOWN, Shapes
from drf_jax.data.source import Source
from drf_jax.errors import UserError
from drf_jax.networks.bert import SentenceBert


def planned_data(
    config: Mapping[str, Any], image: tuple[int, ...] = (), classes: int | None = None
) -> Source:
    """What the flags say, else the prepared data, else what is known of a data set of that name.

    Raises:
      UserError: the data are not here and not known, or ``image`` is not height, width and channels.
    """
    name = config["data"].get("name", "shapes")
    if image:
        if len(image) != 3 or min(image) < 1:
            raise UserError(f"--image {','.join(map(str, image))}: give height,width,channels")
        return Shapes(image, classes or 0, name=name)
    if classes is not None:
        raise UserError(f"--classes {classes}: give --image height,width,channels too")
    try:
        return build.source(config)
    except UserError as error:
        if name not in KNOWN:
            raise UserError(
                f"{error}; to plan without the data give --image and --classes"
            ) from None
    side, known = config["data"].get("size"), KNOWN[name]
    if config["data"].get("captions"):
        known = dataclasses.replace(known, caption_width=SentenceBert.width)
    if side is None:
        return known
    return dataclasses.replace(known, image_shape=(side, side, known.image_shape[-1]))
