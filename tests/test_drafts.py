import jax.numpy as jnp
import numpy as np

from drf_jax.drafts import merge_drafts, repeat_cond, split_drafts

K, B = 3, 2


def test_merge_puts_the_batch_first_and_split_undoes_it():
    x = jnp.arange(K * B * 2).reshape(K, B, 2)
    merged = merge_drafts(x)
    np.testing.assert_array_equal(merged[1 * K + 2], x[2, 1])
    np.testing.assert_array_equal(split_drafts(merged, K), x)


def test_repeated_condition_follows_the_merged_drafts():
    tiled = repeat_cond({"label": jnp.array([4, 7])}, K)
    assert tiled["label"].tolist() == [4, 4, 4, 7, 7, 7]
    assert repeat_cond(None, K) is None
