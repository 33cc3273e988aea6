"""The frozen classifier that a training looks through: a discriminator's, or that of a perceptual loss.

It is of the file ``features``, or trained for ``feature_steps`` updates with the seed ``feature_seed``, and kept in the
folder of the run. A student must not be scored with it: `judge_of` tells the evaluation which one that was.
"""

from pathlib import Path

from jaxtyping import Array, Float

from drf_jax import build
from drf_jax.data.source import Source
from drf_jax.errors import UserError
from drf_jax.evaluation.features import Classifier, load_classifier
from drf_jax.networks.classifier import ClassifierNetwork, feature_maps
from drf_jax.runs.distillation.stage import Setting
from drf_jax.typing import Params

ADVERSARY = "adversary.npz"
PERCEPTUAL = "perceptual.npz"
"""What the file in the folder of a run is called."""


def every_map(
    params: Params, image: Float[Array, "b h w c"]
) -> tuple[Float[Array, "b _h _w _n"], ...]:
    """The classifier's convolutions, which see a part of the image each, and its features, which see all of it, as a
    map of one position. It may tell other classes apart than the teacher is told."""
    network = ClassifierNetwork(params["logits"]["bias"].size)
    features, _ = network.apply({"params": params}, image)
    return *feature_maps(network, params, image), features[:, None, None]


def check_features(spec: build.WithFeatures, data: Source) -> None:
    """Raise unless there is a classifier, or classes to train one on, for a loss that looks through it."""
    if spec.looks and not spec.features and data.num_classes < 2:
        raise UserError(
            f"config.method.features is missing: the data {data.name} have no classes to train a classifier on"
        )


def frozen_classifier(setting: Setting, spec: build.WithFeatures, path: Path) -> Classifier:
    """The classifier in ``path``, which is made if it isn't there.

    Raises:
      UserError: it is one of other images.
    """
    made, data = setting.classifier(spec, path), setting.teacher.data
    if made.image_shape != data.image_shape:
        raise UserError(
            f"config.method.features = {spec.features!r}: is for images of shape {made.image_shape},"
            f" and those of {data.name} have {data.image_shape}"
        )
    return made


def judge_of(folder: Path) -> str:
    """Hash of the classifier that a run's training looked through; "" if there was none."""
    for name in (ADVERSARY, PERCEPTUAL):
        if (folder / name).exists():
            return load_classifier(folder / name).weights_sha256
    return ""
