"""A data set without data: what networks are built from, for planning a run where its images are not.

config.data = {"name": "shapes", "image_shape": (64, 64, 4), "num_classes": 1000}
"""

import dataclasses
from typing import Any, SupportsIndex

from drf_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Shapes:
    """A `Source` that has no elements; asking for them is an error."""

    image_shape: tuple[int, int, int]
    num_classes: int = 0
    caption_width: int = 0
    name: str = "shapes"

    @property
    def classes(self) -> tuple[str, ...]:
        return ()

    def __len__(self) -> int:
        raise self._without_data()

    def __getitem__(self, index: SupportsIndex, /) -> dict[str, Any]:
        raise self._without_data()

    def _without_data(self) -> UserError:
        return UserError(
            f"data set {self.name!r} has shapes and no images: it serves drf plan only"
        )


KNOWN = {
    shapes.name: shapes
    for shapes in (
        Shapes((32, 32, 1), 10, name="fashion_mnist_idx"),
        Shapes((32, 32, 3), 10, name="cifar10"),
        Shapes((64, 64, 3), 4, name="emoji"),
    )
}
"""Data sets that can be planned for where they are not prepared."""
