import jax
import jax.numpy as jnp
import numpy as np
import optax

from drf_jax.objectives.target import TARGETS
from drf_jax.training.ema_target import with_ema_target
from drf_jax.training.state import create_state
from drf_jax.training.step import make_train_step


def objective(params, frozen, batch, key):
    target = TARGETS["ema"](params, frozen)
    pull = (params["w"] - 1) ** 2 + 0 * batch["x"]
    return pull, {"target": target["w"], "known": jnp.asarray(len(frozen))}


def test_the_target_is_the_states_own_average_before_the_update():
    optimizer = optax.sgd(0.1)
    step = jax.jit(with_ema_target(make_train_step(objective, optimizer, ema_decay=0.9)))
    state, batch = create_state({"w": jnp.zeros(())}, optimizer), {"x": jnp.zeros(4)}
    for frozen, known in (({"teacher": jnp.ones(())}, 2), (None, 1), (None, 1)):
        before = state.ema["w"]
        state, metrics = step(state, frozen, batch, jax.random.key(0))
        np.testing.assert_allclose(metrics["target"], before, rtol=1e-6)
        assert metrics["known"] == known
    assert 0 < state.ema["w"] < state.params["w"]
