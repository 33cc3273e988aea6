"""Features of a small classifier trained on the data set itself: the space our FD is measured in.

Inception features mean little on 8x8 digits, so each data set has its own classifier
(``networks/classifier.py``), and the Fréchet distance is taken between its 64 last hidden
activations ("feature_space": "classifier-64"). The features are scaled so that on the training part
their variances sum to their number, which gives FD the same unit for every classifier; exact
distances compare only under the same classifier file. The file carries its provenance: data set,
seed, steps, held-out accuracy and library version.

Images enter as uint8 (``data.image.to_uint8``), always: a sample is scored as it would be stored.
"""

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int, UInt8

from drf_jax.atomic import replacing
from drf_jax.data.image import to_model
from drf_jax.errors import UserError
from drf_jax.evaluation.digest import params_digest
from drf_jax.networks.classifier import ClassifierNetwork
from drf_jax.typing import Params

FEATURE_SPACE = "classifier-64"


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A trained classifier as a feature extractor.

    Attributes:
      params: of ``ClassifierNetwork``.
      image_shape: (h, w, c) of the images it takes.
      num_classes: it tells apart.
      provenance: ``dataset``, ``seed``, ``steps``, ``accuracy`` (held-out), ``version``.
    """

    params: Params
    image_shape: tuple[int, int, int]
    num_classes: int
    provenance: Mapping[str, Any]

    feature_space = FEATURE_SPACE
    resize = "none"

    @property
    def weights_sha256(self) -> str:
        """Hash of the parameters."""
        return params_digest(self.params)

    def extract(
        self, images: UInt8[np.ndarray, "n h w c"], batch_size: int = 256
    ) -> Float32[np.ndarray, "n features"]:
        """The 64 features of each image; the last batch is padded, so one shape is compiled.

        Raises:
          UserError: the images have another shape than ``image_shape``.
        """
        return self._outputs(images, batch_size)[0]

    def classify(
        self, images: UInt8[np.ndarray, "n h w c"], batch_size: int = 256
    ) -> Int[np.ndarray, "n"]:
        """The most likely class of each image; raises as ``extract`` does."""
        return self._outputs(images, batch_size)[1].argmax(-1)

    def _outputs(
        self, images: UInt8[np.ndarray, "n h w c"], batch_size: int
    ) -> tuple[Float32[np.ndarray, "n features"], Float32[np.ndarray, "n classes"]]:
        if images.shape[1:] != self.image_shape:
            raise UserError(
                f"images have the shape {images.shape[1:]}; the classifier takes {self.image_shape}"
            )
        features, logits = [], []
        for start in range(0, max(1, len(images)), batch_size):
            part = images[start : start + batch_size]
            padded = np.pad(part, [(0, batch_size - len(part)), (0, 0), (0, 0), (0, 0)])
            out = jax.device_get(_forward(self.params, padded, self.num_classes))
            features.append(out[0][: len(part)])
            logits.append(out[1][: len(part)])
        return np.concatenate(features), np.concatenate(logits)


def save_classifier(path: str | os.PathLike, classifier: Classifier) -> None:
    """Write one npz: an array for each parameter, and the rest as JSON text; no pickle."""
    facts = {
        "image_shape": classifier.image_shape,
        "num_classes": classifier.num_classes,
        "provenance": dict(classifier.provenance),
    }
    named = {f"params{name}": np.asarray(leaf) for name, leaf in _named(classifier.params)}
    with replacing(path) as file:
        np.savez(file, facts=np.array(json.dumps(facts)), **named)


def load_classifier(path: str | os.PathLike) -> Classifier:
    """Read what ``save_classifier`` wrote.

    Raises:
      UserError: the file is missing, damaged or not a classifier's.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            facts = json.loads(str(stored["facts"]))
            network = ClassifierNetwork(facts["num_classes"])
            image = jax.ShapeDtypeStruct((1, *facts["image_shape"]), jnp.float32)
            expected = jax.eval_shape(network.init, jax.random.key(0), image)["params"]
            leaves = [stored[f"params{name}"] for name, _ in _named(expected)]
    except FileNotFoundError:
        raise UserError(f"classifier file {os.fspath(path)} does not exist") from None
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"{os.fspath(path)} is not a whole classifier file: {error}") from error
    wanted, tree = jax.tree.flatten(expected)
    if [leaf.shape for leaf in leaves] != [leaf.shape for leaf in wanted]:
        raise UserError(f"{os.fspath(path)} holds arrays of other shapes than this version's")
    params = tree.unflatten(map(jnp.asarray, leaves))
    return Classifier(params=params, **facts | {"image_shape": tuple(facts["image_shape"])})


def _named(params: Params) -> list[tuple[str, Any]]:
    paths = jax.tree_util.tree_flatten_with_path(params)[0]
    return [("".join(f"/{key.key}" for key in path), leaf) for path, leaf in paths]


@partial(jax.jit, static_argnames="num_classes")
def _forward(params, images, num_classes):
    return ClassifierNetwork(num_classes).apply({"params": params}, to_model(images))
