import jax
import numpy as np
import pytest

from drf_jax.data.pipeline import batches
from drf_jax.errors import UserError


class Counting:
    """Image i is the number i."""

    name, image_shape, num_classes, caption_width = "counting", (1, 1, 1), 10, 0
    classes = tuple("0123456789")

    def __len__(self):
        return 10

    def __getitem__(self, i):
        return {"image": np.full((1, 1, 1), i, np.uint8), "label": np.int32(i)}


def labels(batch, steps):
    return np.concatenate([batch(step)["label"] for step in steps])


def test_each_epoch_is_another_permutation_though_batches_span_epochs():
    seen = labels(batches(Counting(), 4, seed=0), range(5))
    first, second = seen[:10], seen[10:]
    np.testing.assert_array_equal(np.sort(first), np.arange(10))
    np.testing.assert_array_equal(np.sort(second), np.arange(10))
    assert (first != second).any()


def test_a_batch_depends_on_seed_and_step_only():
    before = batches(Counting(), 4, seed=3)
    straight = labels(before, range(6))
    resumed = batches(Counting(), 4, seed=3)
    np.testing.assert_array_equal(labels(resumed, [4, 5]), straight[16:])
    np.testing.assert_array_equal(labels(before, [0]), straight[:4])
    assert (labels(batches(Counting(), 4, seed=4), range(6)) != straight).any()


def test_images_arrive_in_the_models_range_beside_their_labels():
    batch = batches(Counting(), 4, seed=0)(0)
    assert batch["image"].shape == (4, 1, 1, 1) and batch["image"].dtype == np.float32
    assert batch["label"].dtype == np.int32
    np.testing.assert_allclose(batch["image"][:, 0, 0, 0], batch["label"] / 127.5 - 1, atol=1e-6)


def test_processes_share_the_global_batch(monkeypatch):
    whole = labels(batches(Counting(), 4, seed=1), [7])
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    parts = []
    for process in range(2):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        parts.append(labels(batches(Counting(), 4, seed=1), [7]))
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    with pytest.raises(UserError, match="batch_size 3"):
        batches(Counting(), 3, seed=1)


def test_seed_out_of_range_is_named():
    with pytest.raises(UserError, match="seed -1"):
        batches(Counting(), 4, seed=-1)
