import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.networks.cross_draft import CrossDraft
from drf_jax.networks.dit import DiT, positions

NET = DiT(channels=2, patch=2, width=8, depth=1, heads=2)
C = jnp.ones((3, 8))
IDENTITY = {"kernel": jnp.eye(8), "bias": jnp.zeros(8)}


def test_positions_are_distinct_and_symmetric_in_rows_and_columns():
    table = positions(3, 4, 8)
    flat = table.reshape(12, 8)
    assert len(np.unique(flat.round(6), axis=0)) == 12
    rows, columns = np.split(table, 2, axis=-1)
    np.testing.assert_allclose(rows, np.split(positions(4, 3, 8), 2, axis=-1)[1].swapaxes(0, 1))
    np.testing.assert_allclose(rows[:, 0], rows[:, 3])
    np.testing.assert_allclose(columns[0], columns[2])


def test_a_token_is_its_patch(fresh):
    x = jax.random.normal(jax.random.key(0), (3, 4, 6, 2))
    params, apply = fresh(NET.trunk(), x, C)
    params = {**params, "patches": IDENTITY}
    tokens = apply(params, x, C) - positions(2, 3, 8)
    assert tokens.shape == (3, 2, 3, 8)
    np.testing.assert_allclose(tokens[1, 1, 2], x[1, 2:4, 4:6].reshape(-1), atol=1e-6)


def test_the_head_puts_patches_back(fresh):
    tokens = jax.random.normal(jax.random.key(0), (3, 2, 3, 8))
    params, apply = fresh(NET.head(), tokens, C)
    params = {**params, "out": IDENTITY}
    y = apply(params, tokens, C)
    assert y.shape == (3, 4, 6, 2)
    h = tokens[1, 1, 2]
    expected = ((h - h.mean()) / h.std()).reshape(2, 2, 2)
    np.testing.assert_allclose(y[1, 2:4, 4:6], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("where", "depth", "blocks"),
    [
        ("every_block", 3, (0, 1, 2)),
        ("attention", 3, (0, 2)),
        ("attention", 4, (1, 3)),
        ("attention", 1, (0,)),
    ],
)
def test_mixers_follow_every_block_or_every_second_one_up_to_the_last(where, depth, blocks):
    trunk = dataclasses.replace(NET, depth=depth).trunk(CrossDraft(3, 2, where=where))
    x = jnp.zeros((3, 4, 6, 2))
    params = jax.eval_shape(trunk.init, jax.random.key(0), x, C)["params"]
    assert {name for name in params if name.startswith("mix")} == {f"mix_{i}" for i in blocks}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "width=8 is not a multiple of heads=3"),
        ({"width": 6}, "width=6 is not a multiple of 4"),
        ({"patch": 0}, "patch=0"),
        ({"dtype": "int8"}, "int8"),
    ],
)
def test_bad_descriptions(change, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(NET, **change)


@pytest.mark.parametrize(
    ("shape", "message"), [((1, 4, 5, 2), "4x5 .* patches of 2"), ((1, 4, 4, 3), "3 channels")]
)
def test_bad_images(shape, message):
    with pytest.raises(UserError, match=message):
        jax.eval_shape(NET.trunk().init, jax.random.key(0), jnp.zeros(shape), C[:1])
