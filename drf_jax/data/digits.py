"""The 1,797 handwritten digits of scikit-learn: 8x8 grey images that come with the package.

A stored grey value v in 0..16 becomes the byte round(255 v / 16), halves up. (Alpaydin and Kaynak,
UCI "Optical Recognition of Handwritten Digits", 1998; CC BY 4.0.)
"""

from typing import ClassVar, SupportsIndex

import numpy as np
from jaxtyping import Int64

from drf_jax.data.gather import Stacked


class Digits:
    """A ``Source`` of 8x8x1 images with labels 0..9, in scikit-learn's order."""

    name = "digits"
    image_shape = (8, 8, 1)
    num_classes = 10
    classes = tuple("0123456789")
    caption_width = 0
    licences: ClassVar[dict[str, str]] = {
        "all": "CC BY 4.0, Optical Recognition of Handwritten Digits by Alpaydin and Kaynak, UCI"
    }

    def __init__(self):
        from sklearn.datasets import (
            load_digits,
        )  # takes seconds to import, which every command would wait for

        values, labels = load_digits(return_X_y=True)
        grey = np.floor(values * 255 / 16 + 0.5).astype(np.uint8)
        self._images = grey.reshape(-1, *self.image_shape)
        self._labels = labels.astype(np.int32)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: SupportsIndex) -> dict[str, np.ndarray | np.int32]:
        """``{"image": uint8 [8, 8, 1], "label": int32}``; the image is a copy."""
        return {"image": self._images[index].copy(), "label": self._labels[index]}

    def gather(self, indices: Int64[np.ndarray, "n"]) -> Stacked:
        """As `drf_jax.data.gather.gather` gives it."""
        return {"image": self._images[indices], "label": self._labels[indices]}
