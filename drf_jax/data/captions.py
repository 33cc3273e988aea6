"""Captions as vectors, computed once, beside the images of a prepared data set.

    <data set>/captions/train.npy    float32 [n, width]: row i is the caption of record i
    <data set>/captions/card.json    who embedded them, and for which images

An encoder E maps texts to vectors of length 1 (`drf_jax.text.minilm`). A caption reads "name; keywords",
or has no keywords, and its vector is

    e = (E(name) + E(caption)) / |E(name) + E(caption)|                                        (1)

because the name tells most of what is seen and is what a prompt looks like, and in E(caption) alone it
is one word among many. A caption without a word becomes 0, the empty conditioning. The folder appears
by one rename, whole or not at all.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from drf_jax.data.card import Card, read_card
from drf_jax.data.records import open_records
from drf_jax.errors import UserError

FOLDER, NOTE, TEXT = "captions", "card.json", "caption"

Embed = Callable[[Sequence[str]], Float32[np.ndarray, "n width"]]
"""Texts to vectors of length 1."""


def embed_texts(texts: Sequence[str], embed: Embed) -> Float32[np.ndarray, "n width"]:
    """Equation (1) for each text; equal ones are embedded once."""
    names = [text.partition(";")[0] for text in texts]
    unique = sorted({*names, *texts})
    row = {text: i for i, text in enumerate(unique)}
    vectors = embed(unique)
    total = vectors[[row[name] for name in names]] + vectors[[row[text] for text in texts]]
    total[[not text.strip() for text in texts]] = 0
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), np.float32(1e-6))


def write_captions(folder: Path, embed: Embed, encoder: Mapping[str, str]) -> Path:
    """Embeds the captions of a prepared data set, unless that is done already.

    Args:
      folder: of the data set, with its card.
      embed: the encoder.
      encoder: who it is, for the card.

    Returns:
      the folder of the vectors.

    Raises:
      UserError: the data set has no captions, or others were embedded than its own, or by another
        encoder.
    """
    card, final = read_card(folder), folder / FOLDER
    _check_captioned(folder, card)
    if final.exists():
        made_by = _read_note(final, card)["encoder"]
        if made_by != dict(encoder):
            raise UserError(f"{final}: embedded by {made_by}, not {dict(encoder)}; remove it")
        return final
    partial = folder / f".partial-{FOLDER}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        for split in card.splits:
            texts = [record[TEXT].decode() for record in open_records(folder, split)]
            np.save(partial / f"{split}.npy", embed_texts(texts, embed))
        note = {"encoder": dict(encoder), "sha256": card.sha256}
        (partial / NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
        os.rename(partial, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def read_captions(
    folder: Path, card: Card, split: str, command: str
) -> Float32[np.ndarray, "n width"]:
    """The vectors of a split's captions, memory mapped.

    Args:
      folder: of the data set.
      card: of the data set.
      split: one of its splits.
      command: that embeds the captions, for the message.

    Raises:
      UserError: there are none, they are not embedded, belong to other images, or cannot be read.
    """
    _check_captioned(folder, card)
    if not (folder / FOLDER).exists():
        raise UserError(f"{folder}: its captions are not embedded yet; run: {command}")
    _read_note(folder / FOLDER, card)
    path = folder / FOLDER / f"{split}.npy"
    try:
        vectors = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); remove {folder / FOLDER}") from None
    return vectors


def _check_captioned(folder: Path, card: Card) -> None:
    if TEXT not in card.texts:
        raise UserError(f"{folder}: the images have no captions")


def _read_note(final: Path, card: Card) -> dict[str, Any]:
    """``{"encoder": who made the vectors, "sha256": of the data set's splits}``.

    Raises:
      UserError: they belong to other images, or the note cannot be read.
    """
    try:
        note = json.loads((final / NOTE).read_text(encoding="utf-8"))
        other = note["sha256"] != card.sha256
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{final / NOTE} cannot be read ({error!r}); remove {final}") from None
    if other:
        raise UserError(f"{final}: embedded for other images than those on the card; remove it")
    return note
