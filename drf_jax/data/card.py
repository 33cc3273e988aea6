"""The card of a prepared data set: what it holds, from where, under which licence, what was left out.

``card.json`` lies beside the records and is written last, into a folder that gets its name only
then; so a folder with a card is a whole data set.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from drf_jax.errors import UserError

FILE = "card.json"


@dataclass(frozen=True)
class Card:
    """A prepared data set.

    Attributes:
      family: the name in result files, without the resolution: "emoji", "fashion_mnist".
      version: of the preparation; another version may hold other images.
      image_shape: ``[h, w, c]`` as stored.
      splits: images in each split.
      label: the one of ``classes`` that is the label unless the reader asks for another.
      classes: the names of the classes of each stored integer, by the integer's name.
      texts: the stored texts of an image, such as its caption.
      licences: the licence of each part of the images.
      counts: images in each part, over all splits.
      left_out: images that were left out, by the reason.
      sha256: of the stored pixels, labels and texts of each split in their order, where they were
        written here: equal digests are equal data.
      options: what the data set was prepared with.
    """

    family: str
    version: str
    image_shape: tuple[int, ...]
    splits: dict[str, int]
    label: str
    classes: dict[str, list[str]]
    texts: tuple[str, ...] = ()
    licences: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def write_card(folder: Path, card: Card) -> None:
    """Writes ``folder/card.json``."""
    text = json.dumps(asdict(card), indent=2, ensure_ascii=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read_card(folder: Path) -> Card:
    """The card in ``folder``.

    Raises:
      UserError: there is none, or it cannot be read.
    """
    path = folder / FILE
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        tuples = {key: tuple(stored[key]) for key in ("image_shape", "texts")}
        return Card(**{**stored, **tuples})
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; the folder is no prepared data set") from None
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: not the card of a prepared data set ({error!r})") from error
