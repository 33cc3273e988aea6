"""Data sets that TFDS itself builds: CIFAR, ImageNet 64x64, CelebA, MNIST and Fashion-MNIST.

Building them takes TensorFlow once, and the network; reading them takes neither. The files are as
TFDS writes them, in ArrayRecord; versions are pinned.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drf_jax.data.card import Card
from drf_jax.data.records import tfds
from drf_jax.errors import UserError


@dataclass(frozen=True)
class Official:
    """One builder of TFDS.

    Attributes:
      builder: its name, with its configuration.
      version: pinned.
      labelled: whether an example has a ``label``; without one, all are of the class "all".
    """

    builder: str
    version: str
    labelled: bool = True


OFFICIAL = {
    "celeb_a": Official("celeb_a", "2.1.0", labelled=False),
    "cifar10": Official("cifar10", "3.0.2"),
    "cifar100": Official("cifar100", "3.0.2"),
    "fashion_mnist": Official("fashion_mnist", "3.0.1"),
    "imagenet_resized/64x64": Official("imagenet_resized/64x64", "0.1.1"),
    "mnist": Official("mnist", "3.0.1"),
}


def writer(official: Official) -> Callable[[Path, Path], tuple[Path, Card]]:
    """The recipe of ``prepare.py`` that runs the builder."""

    def write_official(folder: Path, cache: Path) -> tuple[Path, Card]:
        """Downloads into ``cache`` and builds below ``folder``.

        Raises:
          UserError: TFDS or TensorFlow is missing, or TFDS fails.
        """
        package = tfds()
        require_tensorflow(official.builder)
        named = f"{official.builder}:{official.version}"
        try:
            builder = package.builder(named, data_dir=folder, file_format="array_record")
            builder.download_and_prepare(download_dir=cache / "tfds")
        except Exception as error:  # whatever its downloads and its builders raise
            raise UserError(
                f"TFDS cannot build {named}: {type(error).__name__}: {error}"
            ) from error
        features, splits = builder.info.features, builder.info.splits
        card = Card(
            family=official.builder.split("/")[0],
            version=official.version,
            image_shape=tuple(features["image"].shape),
            splits={split: info.num_examples for split, info in splits.items()},
            label="label",
            classes={"label": features["label"].names if official.labelled else ["all"]},
            licences={"all": builder.info.redistribution_info.license or "see the data set's page"},
        )
        return Path(builder.data_path), card

    return write_official


def require_tensorflow(builder: str) -> None:
    """Raises a ``UserError`` if TensorFlow is not installed."""
    if importlib.util.find_spec("tensorflow") is None:
        raise UserError(
            f"building {builder} needs TensorFlow, this once: pip install 'drf_jax[tfds-official]'; "
            "reading it afterwards does not"
        )
