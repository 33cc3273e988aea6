"""The feature network of an evaluation, and the training of a data set's own.

A Fréchet distance never reaches 0 on a finite sample. Its floor is that between two random halves of the real data:

    floor = FD(half A, half B)

A sampler whose FD is near the floor cannot be told from the data in that feature space with that many images.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from drf_jax import build
from drf_jax.data.source import Source
from drf_jax.errors import UserError
from drf_jax.evaluation.extractor import WITHOUT_FILE, Extractor, load_extractor
from drf_jax.evaluation.features import FEATURE_SPACE, Classifier, load_classifier, save_classifier
from drf_jax.evaluation.frechet import frechet_between
from drf_jax.evaluation.reference import source_statistics
from drf_jax.evaluation.train_classifier import train_classifier

FEATURE_SEED = 0
"""The feature network is the same for every run on a data set."""


def feature_network(path: Path, data: Source, steps: int) -> Classifier:
    """The data set's classifier, trained once and kept in ``path``."""
    if path.exists():
        return load_classifier(path)
    classifier = train_classifier(data, FEATURE_SEED, steps=steps)
    save_classifier(path, classifier)
    return classifier


def labelled(config: Mapping[str, Any], label: str) -> Source:
    """The data of a config with another of their labels, or with their own if that is empty."""
    changed = {"data": {**config["data"], "label": label}} if label else {}
    return build.source({**config, **changed})


def extractor_of(
    spec: build.Evaluate, workdir: Path, data: Source, config: Mapping[str, Any]
) -> Extractor:
    """The feature network that ``spec`` asks for; ``config`` is of the run whose ``data`` they are.

    Raises:
      UserError: its file is missing, damaged, or of another network or data set.
    """
    if spec.feature_space == FEATURE_SPACE:
        if not spec.features:
            theirs = labelled(config, spec.feature_label) if spec.feature_label else data
            return feature_network(workdir / "features.npz", theirs, spec.feature_steps)
        classifier = load_classifier(spec.features)
        if classifier.image_shape != data.image_shape:
            raise UserError(
                f"config.evaluate.features = {spec.features!r}: is for images of shape"
                f" {classifier.image_shape}, and those of {data.name} have {data.image_shape}"
            )
        return classifier
    return with_file("features", spec.feature_space, spec.features)


def judge_network(spec: build.Evaluate) -> Extractor | None:
    """The second feature network that ``spec`` asks for, if any; errors as of `with_file`."""
    return with_file("judge_features", spec.judge, spec.judge_features) if spec.judge else None


def with_file(key: str, feature_space: str, file: str) -> Extractor:
    """The feature network of that file, which ``key`` of ``config.evaluate`` names.

    Raises:
      UserError: the space needs a file and has none, or the file is not what it should be.
    """
    if not file and feature_space not in WITHOUT_FILE:
        raise UserError(f"config.evaluate.{key} is missing: the weights file of {feature_space}")
    return load_extractor(feature_space, file)


def train_features(config: Mapping[str, Any], out: str | Path, steps: int, seed: int) -> Classifier:
    """Train the classifier of ``config.data``, by its feature label, and write it to ``out``.

    Returns:
      the classifier; its provenance has the held-out ``accuracy``, and as ``floor_fd`` the FD
      between two random halves of the real data, of ``floor_images`` images each.

    Raises:
      UserError: the data have no classes to tell apart.
    """
    data = labelled(config, config.get("evaluate", {}).get("feature_label", ""))
    if data.num_classes < 2:
        raise UserError(f"config.data: {data.name} has no classes to tell apart")
    classifier = train_classifier(data, seed, steps=steps)
    order = np.random.default_rng(seed).permutation(len(data))
    halves = np.array_split(order, 2)
    floor = frechet_between(*(source_statistics(classifier, data, half) for half in halves))
    facts = {"floor_fd": floor, "floor_images": len(halves[1])}
    classifier = replace(classifier, provenance={**classifier.provenance, **facts})
    save_classifier(out, classifier)
    return classifier
