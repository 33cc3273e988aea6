import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from drf_jax.errors import UserError
from drf_jax.objectives.adversarial import Adversarial
from drf_jax.process.prediction import Prediction
from drf_jax.process.schedule import CosineVP
from drf_jax.sharding import make_mesh, replicate
from drf_jax.training.adversarial_step import by_group, make_adversarial_step
from drf_jax.training.checkpoint import Checkpoints, abstract
from drf_jax.training.state import create_state, init_sharded
from drf_jax.training.step import jit_step

X0 = jax.random.normal(jax.random.key(1), (16, 3))
FROZEN = {"teacher": jnp.float32(0.9), "features": None}


class Heads:
    def apply(self, variables, maps, cond):
        return jnp.tanh(maps[0] @ variables["params"]["kernel"]).T


def model(w):
    return lambda x, t, cond=None: Prediction(jnp.tanh(w * x), x)


def features(params, x):
    return (x,)


OBJECTIVE = Adversarial(model, model, Heads(), features, CosineVP(), (0.8, 0.4), r1_weight=0.1)


def init(optimizer):
    kernel = 0.1 * jnp.arange(6.0).reshape(3, 2)
    params = {"student": jnp.float32(0.5), "discriminator": {"kernel": kernel}}
    return create_state(params, optimizer)


def run(state, step, first, last):
    for i in range(first, last):
        key = jax.random.fold_in(jax.random.key(0), i)
        state, metrics = step(state, FROZEN, {"x0": X0, "cond": None}, key)
    return state, metrics


def compiled():
    mesh = make_mesh(devices=jax.devices()[:1])
    step, optimizer = make_adversarial_step(OBJECTIVE, optax.adam(1e-2), optax.adam(3e-2), 0.9)
    state, shardings = init_sharded(lambda: init(optimizer), mesh, [("", replicate)])
    return state, jit_step(step, mesh, shardings)


def test_each_player_moves_by_its_own_optimizer():
    still = optax.sgd(0.0)
    for moving in ("student", "discriminator"):
        rates = {name: optax.sgd(0.1) if name == moving else still for name in init(still).params}
        step, optimizer = make_adversarial_step(OBJECTIVE, **rates)
        before = init(optimizer)
        after, _ = run(before, jax.jit(step), 0, 1)
        for name in rates:
            same = jax.tree.map(
                lambda a, b: (a == b).all(), before.params[name], after.params[name]
            )
            assert all(jax.tree.leaves(same)) == (name != moving)


def test_the_update_is_that_of_two_separate_optimizers():
    one, two = optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(1.0)), optax.adam(1e-2)
    both = by_group({"a": one, "b": two})
    params = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([3.0])}
    slopes = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([1e3])}
    updates, state = both.update(slopes, both.init(params), params)
    # The other player's large gradient has no part in this one's clipping.
    np.testing.assert_allclose(updates["a"], [-0.06, -0.08], rtol=1e-6)
    alone, alone_state = two.update(slopes["b"], two.init(params["b"]), params["b"])
    np.testing.assert_array_equal(updates["b"], alone)
    jax.tree.map(np.testing.assert_array_equal, state["b"], alone_state)
    with pytest.raises(UserError, match="optimizers for a, b; parameters: a"):
        both.init({"a": params["a"]})


def test_saved_and_resumed_is_uninterrupted(tmp_path):
    state, step = compiled()
    whole, _ = run(state, step, 0, 6)
    half, _ = run(compiled()[0], step, 0, 3)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, half)
        restored = checkpoints.restore(abstract(half))
    resumed, metrics = run(restored, step, 3, 6)
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)
    assert {"loss", "grad_norm", "student", "discriminator"} <= set(metrics)
