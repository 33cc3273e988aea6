"""Fashion-MNIST from its four IDX files: 60,000 + 10,000 grey images, padded to 32x32.

(Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms", arXiv 1708.07747; MIT licence.) Two black pixels on each side turn 28x28 into 32x32,
which halves five times. The order is the files'.
"""

from pathlib import Path
from typing import Any

import numpy as np

from drf_jax.data.card import Card
from drf_jax.data.idx import read_idx
from drf_jax.data.records import write_records
from drf_jax.errors import UserError

VERSION = "1.0.0"
DEBIAN = "/usr/share/datasets/fashion-mnist"
"""Where Debian's package ``dataset-fashion-mnist`` puts the files."""

CLASSES = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]  # fmt: skip


def write_fashion_mnist(folder: Path, cache: Path, idx_dir: str = DEBIAN) -> tuple[Path, Card]:
    """Stores the images below ``folder``; a recipe of ``prepare.py``.

    Args:
      folder: to write in.
      cache: of downloads; not used.
      idx_dir: the folder of the four files, plain or ``.gz``.

    Raises:
      UserError: a file is missing, damaged or holds something else.
    """
    if not Path(idx_dir).is_dir():
        raise UserError(
            f"{idx_dir}: no such folder; Debian's package dataset-fashion-mnist "
            "(apt-get install dataset-fashion-mnist) makes it, or give idx_dir, where the files are"
        )
    splits = {"train": _split(Path(idx_dir), "train"), "test": _split(Path(idx_dir), "t10k")}
    records = write_records(folder, "fashion_mnist_idx", VERSION, splits)
    card = Card(
        family="fashion_mnist",
        version=VERSION,
        image_shape=(32, 32, 1),
        splits=records.splits,
        label="label",
        classes={"label": CLASSES},
        licences={"all": "MIT, Copyright (c) 2017 Zalando SE"},
        sha256=records.sha256,
    )
    return records.folder, card


def _split(folder: Path, prefix: str) -> list[dict[str, Any]]:
    images = read_idx(folder / f"{prefix}-images-idx3-ubyte")
    labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte")
    if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
        raise UserError(
            f"{folder}: {prefix} images have shape {images.shape} and labels {labels.shape}; "
            "needed are (n, 28, 28) and (n,)"
        )
    if labels.max(initial=0) >= len(CLASSES):
        raise UserError(f"{folder}: {prefix} labels go up to {labels.max()}; allowed are 0..9")
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))[..., None]
    return [
        {"image": image, "label": int(label)} for image, label in zip(padded, labels, strict=True)
    ]
