import numpy as np
import pytest

from drf_jax.data.gather import Gathers, gather, stack_examples
from drf_jax.data.held_out import Part
from drf_jax.data.source import First, load_source

INDICES = np.array([3, 11, 3, 0])


class Captioned:
    """Example i is the number i."""

    name, image_shape, num_classes, caption_width = "numbers", (1, 1, 1), 10, 2

    def __len__(self):
        return 20

    def __getitem__(self, i):
        vector = np.full(2, i, np.float32)
        return {"image": np.full((1, 1, 1), i), "label": i % 10, "caption_embedding": vector}


def test_examples_are_stacked_in_the_order_of_the_indices():
    made = gather(Captioned(), INDICES)
    assert made["image"].dtype == np.uint8 and made["label"].dtype == np.int32
    np.testing.assert_array_equal(made["image"].ravel(), INDICES)
    np.testing.assert_array_equal(made["label"], INDICES % 10)
    np.testing.assert_array_equal(made["caption_embedding"], np.stack([INDICES] * 2, 1))
    assert gather(Captioned(), INDICES[:0])["caption_embedding"].shape == (0, 2)


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: First(s, 12), lambda s: Part(s, np.arange(15)[::-1])]
)
def test_a_sources_own_way_gives_the_same(wrap):
    source = wrap(load_source("digits"))
    assert isinstance(source, Gathers)
    own, stacked = gather(source, INDICES), stack_examples(source, INDICES)
    assert own.keys() == stacked.keys()
    for key in own:
        np.testing.assert_array_equal(own[key], stacked[key])
        assert own[key].dtype == stacked[key].dtype
