"""The protocol of a feature space, and every feature space by its name.

FD, KID, precision and recall are taken between features; a number means something only together
with the space it was measured in. An extractor therefore carries what identifies it:
``feature_space``, ``resize`` and ``weights_sha256`` go into every statistics file.
"""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from drf_jax.errors import UserError
from drf_jax.evaluation.efficientnet import FEATURE_SPACE as EFFICIENTNET
from drf_jax.evaluation.efficientnet import load_efficientnet
from drf_jax.evaluation.features import FEATURE_SPACE, load_classifier
from drf_jax.evaluation.inception import load_inception
from drf_jax.evaluation.random_inception import FEATURE_SPACE as RANDOM
from drf_jax.evaluation.random_inception import random_inception
from drf_jax.evaluation.resize import RESIZES


@runtime_checkable
class Extractor(Protocol):
    """Stored images to feature vectors.

    Attributes:
      feature_space: its name.
      resize: how images are brought to the network's size; "none" if they are taken as they are.
      weights_sha256: hash of the network's parameters.
      provenance: where the weights come from, for people to read.
    """

    @property
    def feature_space(self) -> str: ...

    @property
    def resize(self) -> str: ...

    @property
    def weights_sha256(self) -> str: ...

    @property
    def provenance(self) -> Mapping[str, Any]: ...

    def extract(
        self, images: UInt8[np.ndarray, "n h w c"], batch_size: int = 64
    ) -> Float32[np.ndarray, "n d"]: ...


EXTRACTORS: dict[str, Callable[[str | os.PathLike], Extractor]] = {
    FEATURE_SPACE: load_classifier,
    **{f"inception-{name}": partial(load_inception, resize=name) for name in RESIZES},
    **{
        f"inception-{name}-tf32": partial(load_inception, resize=name, precision="tf32")
        for name in RESIZES
    },
    EFFICIENTNET: load_efficientnet,
    RANDOM: random_inception,
}
"""Feature space -> loader of its weights file."""
WITHOUT_FILE = (EFFICIENTNET, RANDOM)
"""Those that need not be told one: an installed package has it, or there is none."""


def load_extractor(feature_space: str, path: str | os.PathLike) -> Extractor:
    """The extractor of that name with the weights in ``path``.

    Raises:
      UserError: the name is unknown, or the file is not what it should be.
    """
    if feature_space not in EXTRACTORS:
        known = ", ".join(EXTRACTORS)
        raise UserError(f"feature space {feature_space!r} is unknown; known: {known}")
    return EXTRACTORS[feature_space](path)
