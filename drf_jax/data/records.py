"""Images in ArrayRecord files, written and read through TensorFlow Datasets, without TensorFlow.

TFDS needs TensorFlow to encode an array as an image and to decode one, not to store PNG bytes; so
the bytes are made and read by Pillow (``picture.py``), and the files stay ordinary TFDS data sets.
"""

import contextlib
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from drf_jax.data.picture import to_png
from drf_jax.errors import UserError


class Records(NamedTuple):
    """What ``write_records`` wrote: the folder, and each split's count and digest."""

    folder: Path
    splits: dict[str, int]
    sha256: dict[str, str]


def tfds() -> ModuleType:
    """The package ``tensorflow_datasets``, which the extra ``tfds`` brings.

    Raises:
      UserError: it is not installed.
    """
    try:
        import importlib_resources  # noqa: F401 (TFDS needs it but does not require it)
        import tensorflow_datasets
    except ImportError as error:
        raise UserError(
            f"prepared data sets need the extra tfds: pip install 'drf_jax[tfds]' ({error})"
        ) from error
    tensorflow_datasets.disable_progress_bar()
    return tensorflow_datasets


def write_records(
    folder: Path, name: str, version: str, splits: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Records:
    """Stores examples in their order.

    Args:
      folder: in which TFDS makes ``name/version``.
      name: of the data set, in snake_case.
      version: "major.minor.patch".
      splits: examples ``{"image": uint8 [h, w, c], ...}``, the same keys and image shape in each; the
        other values are integers or texts. A split without examples is not stored.

    Raises:
      UserError: there is no example at all.
    """
    package = tfds()
    splits = {split: examples for split, examples in splits.items() if examples}
    if not splits:
        raise UserError(f"data set {name!r}: zero images; at least one is needed")
    first = next(iter(splits.values()))[0]
    features = {"image": package.features.Image(shape=first["image"].shape, encoding_format="png")}
    for key in first.keys() - {"image"}:
        features[key] = package.features.Text() if isinstance(first[key], str) else np.int64

    class Builder(package.core.GeneratorBasedBuilder, skip_registration=True):
        """One data set; TFDS asks for a class, so it is made from the examples here."""

        VERSION = package.core.Version(version)

        def __init__(self):
            self.name = name
            super().__init__(data_dir=folder, file_format="array_record")

        def _info(self):
            return package.core.DatasetInfo(
                builder=self,
                features=package.features.FeaturesDict(features),
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(some) for split, some in splits.items()}

        def _generate_examples(self, examples):
            for i, example in enumerate(examples):
                yield i, {**example, "image": io.BytesIO(to_png(example["image"]))}

    builder = Builder()
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare()
    return Records(
        folder=Path(builder.data_path),
        splits={split: len(examples) for split, examples in splits.items()},
        sha256={split: _digest(examples) for split, examples in splits.items()},
    )


def _digest(examples: Sequence[Mapping[str, Any]]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        rest = {key: value for key, value in example.items() if key != "image"}
        digest.update(np.ascontiguousarray(example["image"]))
        digest.update(json.dumps(rest, sort_keys=True).encode())
    return digest.hexdigest()


def open_records(folder: Path, split: str) -> Sequence[Any]:
    """The stored examples of a split: dicts with ``image`` as the bytes of its file, texts as UTF-8.

    Raises:
      UserError: the files cannot be opened.
    """
    package = tfds()
    decoders = {"image": package.decode.SkipDecoding()}
    try:
        builder = package.builder_from_directory(folder)
        return builder.as_data_source(split, decoders=decoders)
    except Exception as error:  # whatever TFDS and its readers raise
        raise UserError(f"{folder}: cannot be read as a TFDS data set ({error})") from error
