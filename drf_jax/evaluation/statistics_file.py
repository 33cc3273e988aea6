"""Statistics on disk, with all that decides whether two of them may be compared.

A Fréchet distance between features of different networks, resizes, roundings or image sizes is a
number without meaning, and files do not show what they hold. So each file says it (``Provenance``),
and ``check_compatible`` refuses a comparison across it.

The npz has ``mu`` and ``sigma``, under which other FID codes read statistics, ``scatter``, so that
they come back bit for bit, and ``provenance`` as JSON text; nothing is pickled.
"""

import dataclasses
import json
import os
import zipfile
from dataclasses import dataclass

import numpy as np

from drf_jax import __version__
from drf_jax.atomic import replacing
from drf_jax.errors import UserError
from drf_jax.evaluation.extractor import Extractor
from drf_jax.evaluation.statistics import Statistics

QUANTISATION = "uint8-half-up"
"""The rule of ``data.image.to_uint8``: floor(clip((x + 1) * 127.5, 0, 255) + 0.5)."""

COMPARED = (
    "dataset",
    "image_shape",
    "quantisation",
    "resize",
    "feature_space",
    "weights_sha256",
)
"""What must agree; split, count and version may differ."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a set of features comes from.

    Attributes:
      dataset: name of the source; for samples, that of the model's training data.
      split: "train", "test", or what names a set of samples.
      count: number of images.
      image_shape: (h, w, c) of the images as stored.
      feature_space: name of the extractor.
      resize: the extractor's resize convention.
      weights_sha256: hash of the extractor's weights.
      quantisation: name of the rule by which images became uint8.
      version: of the library.
    """

    dataset: str
    split: str
    count: int
    image_shape: tuple[int, int, int]
    feature_space: str
    resize: str
    weights_sha256: str
    quantisation: str = QUANTISATION
    version: str = __version__


def provenance_of(
    extractor: Extractor,
    *,
    dataset: str,
    split: str,
    count: int,
    image_shape: tuple[int, int, int],
) -> Provenance:
    """The provenance of features that this extractor made in this version of the library."""
    return Provenance(
        dataset=dataset,
        split=split,
        count=count,
        image_shape=image_shape,
        feature_space=extractor.feature_space,
        resize=extractor.resize,
        weights_sha256=extractor.weights_sha256,
    )


def check_compatible(a: Provenance, b: Provenance) -> None:
    """Refuse to compare what was measured differently.

    Raises:
      UserError: one of ``COMPARED`` differs; the message has its name and both values.
    """
    for field in COMPARED:
        ours, theirs = getattr(a, field), getattr(b, field)
        if ours != theirs:
            raise UserError(
                f"statistics of {a.dataset}/{a.split} and {b.dataset}/{b.split} cannot be "
                f"compared: {field} is {ours!r} and {theirs!r}"
            )


def save_statistics(
    path: str | os.PathLike, statistics: Statistics, provenance: Provenance
) -> None:
    """Write the file at once; its name should end in ``.npz``.

    Raises:
      UserError: there are fewer than two images, or not as many as the provenance says.
    """
    if statistics.n != provenance.count:
        raise UserError(f"statistics of {statistics.n} images, provenance of {provenance.count}")
    with replacing(path) as file:
        np.savez(
            file,
            mu=statistics.mean,
            sigma=statistics.covariance,
            scatter=statistics.scatter,
            provenance=np.array(json.dumps(dataclasses.asdict(provenance))),
        )


def load_statistics(path: str | os.PathLike) -> tuple[Statistics, Provenance]:
    """Read what ``save_statistics`` wrote.

    Raises:
      UserError: the file is missing, damaged, or without provenance (made by another program).
    """
    path = os.fspath(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            if "mu" in stored and "provenance" not in stored:
                raise UserError(
                    f"statistics file {path} does not say what it was made from; "
                    "make it anew from the images"
                )
            facts = json.loads(str(stored["provenance"]))
            provenance = Provenance(**facts | {"image_shape": tuple(facts["image_shape"])})
            statistics = Statistics(provenance.count, stored["mu"], stored["scatter"])
    except FileNotFoundError:
        raise UserError(f"statistics file {path} does not exist") from None
    except UserError:
        raise
    # A file that is none can fail in many ways, shape checks included.
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a whole statistics file: {error}") from error
    if statistics.mean.ndim != 1 or statistics.scatter.shape != 2 * statistics.mean.shape:
        raise UserError(f"{path} is not a whole statistics file: its arrays do not fit together")
    return statistics, provenance
