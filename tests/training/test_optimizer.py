import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from drf_jax.errors import UserError
from drf_jax.training.optimizer import (
    Optimizer,
    make_optimizer,
    make_schedule,
    with_schedule_of,
)


def values(cfg, steps):
    return [float(make_schedule(cfg, steps)(i)) for i in range(steps + 1)]


def test_schedules_have_their_closed_forms():
    cfg = Optimizer(learning_rate=2.0, warmup=0)
    cosine = [1 + math.cos(math.pi * i / 4) for i in range(5)]
    np.testing.assert_allclose(values(cfg, 4), cosine, atol=1e-6)
    linear = dataclasses.replace(cfg, schedule="linear")
    np.testing.assert_allclose(values(linear, 4), [2, 1.5, 1, 0.5, 0], atol=1e-6)
    constant = dataclasses.replace(cfg, schedule="constant")
    np.testing.assert_allclose(values(constant, 4), [2.0] * 5)


def test_warmup_rises_to_the_peak_then_decays():
    cfg = Optimizer(learning_rate=1.0, schedule="linear", warmup=4)
    np.testing.assert_allclose(
        values(cfg, 8), [0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25, 0], atol=1e-6
    )


def test_schedule_stays_at_its_end():
    assert float(make_schedule(Optimizer(), 10)(50)) == pytest.approx(0.0, abs=1e-9)


def first_step_moment(cfg, grad):
    """Adam's first moment after one step is (1 − b1) times the gradient that it was given."""
    optimizer = make_optimizer(cfg, 10)
    params = {"w": jnp.zeros(2)}
    _, state = optimizer.update({"w": grad}, optimizer.init(params), params)
    return optax.tree.get(state, "mu")["w"] / (1 - cfg.b1)


def test_gradient_is_clipped_to_the_norm():
    big, small = jnp.array([30.0, 40.0]), jnp.array([0.3, 0.4])
    np.testing.assert_allclose(first_step_moment(Optimizer(clip=2.0), big), [1.2, 1.6], rtol=1e-5)
    np.testing.assert_allclose(first_step_moment(Optimizer(clip=2.0), small), small, rtol=1e-5)
    np.testing.assert_allclose(first_step_moment(Optimizer(clip=None), big), big, rtol=1e-5)


def test_weight_decay_spares_vectors():
    optimizer = make_optimizer(
        Optimizer(learning_rate=0.1, weight_decay=0.5, schedule="constant"), 9
    )
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    zero = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
    updates, _ = optimizer.update(zero, optimizer.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.05, rtol=1e-5)
    np.testing.assert_array_equal(updates["bias"], 0)


def test_user_errors_name_what_is_allowed():
    with pytest.raises(UserError, match="'cosin' is unknown; allowed: constant, linear, cosine"):
        make_optimizer(Optimizer(schedule="cosin"), 10)
    with pytest.raises(UserError, match=r"warmup: 10 .* steps=10"):
        make_optimizer(Optimizer(warmup=10), 10)


def test_one_program_serves_every_learning_rate_and_length():
    params = {"w": jnp.ones((2, 2))}

    def program(cfg, steps):
        optimizer = make_optimizer(cfg, steps)
        return jax.jit(optimizer.update).lower(params, optimizer.init(params), params).as_text()

    assert program(Optimizer(1e-3, warmup=2), 10) == program(Optimizer(2e-4, warmup=7), 5000)
    assert program(Optimizer(1e-3), 10) != program(Optimizer(1e-3, schedule="linear"), 10)


def test_a_run_that_goes_on_follows_its_own_schedule():
    params, grad = {"w": jnp.zeros(2)}, {"w": jnp.ones(2)}
    short, long = (make_optimizer(Optimizer(1.0, "linear"), steps) for steps in (2, 100))
    _, state = short.update(grad, short.init(params), params)
    state = with_schedule_of(state, long.init(params))
    updates, _ = long.update(grad, state, params)
    np.testing.assert_allclose(updates["w"], -0.99, rtol=1e-3)
