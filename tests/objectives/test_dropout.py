import jax
import jax.numpy as jnp
import numpy as np

from drf_jax.objectives.dropout import drop_condition

KEY = jax.random.key(5)
COND = {
    "label": jnp.arange(4000) % 10,
    "caption": jnp.ones((4000, 2)),
    "guidance": jnp.arange(4000.0),
}
NULL = {"label": jnp.int32(10), "caption": jnp.zeros(2)}


def test_a_share_becomes_empty_as_a_whole_and_the_rest_stays():
    dropped = drop_condition(COND, KEY, 0.3, NULL)
    gone = dropped["label"] == 10
    assert 0.27 < gone.mean() < 0.33
    np.testing.assert_array_equal(dropped["caption"][:, 1] == 0, gone)
    for name in NULL:
        np.testing.assert_array_equal(dropped[name][~gone], COND[name][~gone])
        assert dropped[name].dtype == COND[name].dtype
    assert dropped["guidance"] is COND["guidance"]  # there is no empty weight


def test_never_and_always():
    for probability, label in [(0.0, COND["label"]), (1.0, jnp.full(4000, 10))]:
        dropped = drop_condition(COND, KEY, probability, NULL)
        np.testing.assert_array_equal(dropped["label"], label)
        assert dropped["caption"].any() == (probability == 0)
