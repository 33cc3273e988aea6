"""A prepared data set as a ``Source``: decoded once, then served from memory while it fits.

The first epoch decodes each image at its first use; later ones copy it, and so do other sources of the same images in
the process (`drf_jax.data.decoded`). Values and order do not depend on whether an image came from memory. Other sizes
than the stored one are made by the same crop and bicubic filter as at preparation.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Int64, UInt8

from drf_jax.data.captions import read_captions
from drf_jax.data.card import FILE, read_card
from drf_jax.data.decoded import Decoded, shared
from drf_jax.data.gather import stack_examples
from drf_jax.data.picture import crop, open_picture, to_array
from drf_jax.data.prepare import home_of
from drf_jax.data.records import open_records
from drf_jax.errors import UserError


class Prepared:
    """A ``Source`` of one split of a prepared data set.

    Attributes:
      card: of the whole data set.
      name: its family and height, as result files name it: "emoji64".
    """

    def __init__(
        self,
        name: str,
        data_dir: str | Path,
        split: str = "train",
        title: str = "",
        size: int | None = None,
        label: str | None = None,
        captions: bool = False,
        memory_gib: float = 4.0,
    ):
        """Opens the data set.

        Args:
          name: as it was prepared.
          data_dir: where it was prepared.
          split: one of those on its card.
          title: with which it was prepared.
          size: crops to the centre square and resizes to this height and width; None: as stored.
          label: which of the stored integers is the label; None: the card's choice.
          captions: examples get the ``caption_embedding`` that ``drf data embed`` has computed.
          memory_gib: decoded images are kept if all of them take no more than this.

        Raises:
          UserError: it is not prepared, or has no such split or label, or its captions are not
            embedded, or it cannot be read.
        """
        folder = newest(name, data_dir, title)
        card = read_card(folder)
        label = label or card.label
        if split not in card.splits:
            raise UserError(f"{folder}: no split {split!r}; known: {', '.join(card.splits)}")
        if label not in card.classes:
            raise UserError(f"{folder}: no label {label!r}; known: {', '.join(card.classes)}")
        if size is not None and size < 1:
            raise UserError(f"data set {name!r}: size {size} must be at least 1")
        stored = tuple(card.image_shape)
        self.card = card
        self.image_shape = stored if size is None else (size, size, stored[2])
        self.classes = tuple(card.classes[label])
        self.num_classes = len(self.classes)
        self.name = _name(card.family, self.image_shape[0])
        self._folder, self._label = folder, label
        self._records = open_records(folder, split)
        self._captions = None
        if captions:
            command = f"drf data embed {name} --data_dir {data_dir}{title and f' --title {title}'}"
            self._captions = read_captions(folder, card, split, command)
        self.caption_width = 0 if self._captions is None else self._captions.shape[1]
        self._decoded: Decoded | None = None
        if len(self._records) * np.prod(self.image_shape) <= memory_gib * 2**30:
            made = (folder / FILE).stat().st_mtime_ns
            key = (folder.resolve(), made, split, label, self.image_shape)
            self._decoded = shared(key, len(self._records), self.image_shape)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        """``{"image": uint8 [h, w, c], "label": int32, ...}``: the card's integers and texts too."""
        i = range(len(self))[index]
        if self._decoded is None:
            (example,) = self._read([i])
        else:
            self.decode(np.array([i]))
            example = {"image": self._decoded.images[i].copy(), **self._decoded.rest[i]}
        if self._captions is not None:
            example["caption_embedding"] = self._captions[i]
        return example

    def gather(self, indices: Int64[np.ndarray, "n"]) -> dict[str, np.ndarray]:
        """What is trained on of many examples, as `drf_jax.data.source.gather` gives it."""
        if self._decoded is None:
            return stack_examples(self, indices)
        self.decode(indices)
        made = {"image": self._decoded.images[indices], "label": self._decoded.labels[indices]}
        if self._captions is not None:
            made["caption_embedding"] = self._captions[indices]
        return made

    def decode(self, indices: Int64[np.ndarray, "n"]) -> None:
        """Have these in memory, if all fit; nothing otherwise."""
        if self._decoded is None:
            return
        rows = np.arange(len(self))[indices]
        missing = np.unique(rows[~self._decoded.done[rows]]).tolist()
        for i, example in zip(missing, self._read(missing), strict=True):
            self._decoded.put(i, example)

    def _read(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        try:
            records = self._records.__getitems__(rows) if rows else []
        except (OSError, ValueError, RuntimeError):  # which one it is, is found one by one
            records = [self._record(i) for i in rows]
        return [self._example(record, i) for record, i in zip(records, rows, strict=True)]

    def _record(self, i: int) -> dict[str, Any]:
        try:
            return self._records[i]
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"{self._folder}: image {i} cannot be read ({error})") from error

    def _example(self, record: dict[str, Any], i: int) -> dict[str, Any]:
        image = self._image(record["image"], i)
        integers = {key: np.int32(record.get(key, 0)) for key in self.card.classes}
        texts = {key: record[key].decode() for key in self.card.texts}
        return {"image": image, "label": integers[self._label], **integers, **texts}

    def _image(self, data: bytes, i: int) -> UInt8[np.ndarray, "h w c"]:
        picture = open_picture(data, f"{self._folder}: image {i}")
        if picture.size != self.image_shape[1::-1]:
            picture = crop(picture, self.image_shape[0])
        image = to_array(picture)
        if image.shape != self.image_shape:
            raise UserError(f"{self._folder}: image {i} has shape {image.shape}")
        return image


def newest(name: str, data_dir: str | Path, title: str = "") -> Path:
    """The folder of the newest version of a prepared data set.

    Raises:
      UserError: there is none.
    """
    home = home_of(name, data_dir, title)
    whole = [path.parent for path in home.glob(f"*/{FILE}")]
    found = [path for path in whole if re.fullmatch(r"\d+\.\d+\.\d+", path.name)]
    if not found:
        raise UserError(
            f"data set {name!r} is not prepared in {data_dir}; "
            f"run: drf data prepare {name} --data_dir {data_dir}"
        )
    return max(found, key=lambda path: [int(part) for part in path.name.split(".")])


def _name(family: str, height: int) -> str:
    return f"{family}-{height}" if family[-1:].isdigit() else f"{family}{height}"
