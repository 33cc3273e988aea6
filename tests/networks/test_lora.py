import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from drf_jax.errors import UserError
from drf_jax.networks.lora import KERNELS, compose, init_lora, merge, unmerge, with_lora
from drf_jax.networks.network import DenoisingNetwork

KEY = jax.random.key(1)
X, T = jnp.linspace(-1, 1, 2 * 4 * 4 * 2).reshape(2, 4, 4, 2), jnp.array([0.2, 0.7])


def randomise(lora, seed=0):
    """Deltas with a B that is not zero."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(0.3 * rng.standard_normal(leaf.shape), leaf.dtype), lora
    )


def close(a, b, atol=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=atol), a, b)


@pytest.fixture(scope="module")
def deltas(jit):
    """Deltas of rank 2 for every kernel, in one compiled call."""
    return jit(lambda params: init_lora(params, KERNELS, 2, KEY))


@pytest.fixture(scope="module")
def add(jit):
    """``merge``, compiled."""
    return jit(merge)


def test_fresh_deltas_change_nothing(backbone, cond, make, deltas, add):
    params, apply = make(DenoisingNetwork(backbone), X, T, cond)
    merged = add(params, deltas(params), 3.0)
    jax.tree.map(np.testing.assert_array_equal, merged, params)
    np.testing.assert_array_equal(apply(merged, X, T, cond), apply(params, X, T, cond))


def test_deltas_change_the_output_and_unmerging_undoes_them(backbone, cond, make, deltas, add):
    params, apply = make(DenoisingNetwork(backbone), X, T, cond)
    lora = randomise(deltas(params))
    merged = add(params, lora, 0.5)
    assert jnp.abs(apply(merged, X, T, cond) - apply(params, X, T, cond)).max() > 1e-2
    close(add(merged, lora, -0.5), params)


def test_deltas_are_of_low_rank_and_at_kernels_only(backbone, cond, make, deltas, add):
    params, _ = make(DenoisingNetwork(backbone), X, T, cond)
    merged = add(params, randomise(deltas(params)), 1.0)
    delta = flatten_dict(jax.tree.map(np.subtract, *jax.device_get((merged, params))), sep="/")
    for path, leaf in delta.items():
        if path.endswith("kernel"):
            rank = np.linalg.matrix_rank(leaf.reshape(-1, leaf.shape[-1]), tol=1e-4)
            assert rank == min(2, leaf.shape[-1], leaf.size // leaf.shape[-1]), path
        else:
            assert (leaf == 0).all(), path


def test_a_convolutions_delta_is_a_convolution_to_few_channels_and_a_product():
    kernel = jax.random.normal(KEY, (3, 3, 2, 5))
    [delta] = [randomise(init_lora({"kernel": kernel}, KERNELS, 2, KEY))["kernel"]]

    def conv(x, w):
        return jax.lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    merged = merge({"kernel": kernel}, {"kernel": delta}, 0.7)["kernel"]
    expected = conv(X, kernel) + 0.7 * conv(X, delta["a"]) @ delta["b"]
    np.testing.assert_allclose(conv(X, merged), expected, atol=1e-5)


PARAMS = {
    "one": {"kernel": jnp.ones((4, 6))},
    "two": {"kernel": jnp.ones((6, 3)), "bias": jnp.ones(3)},
}


def test_composed_deltas_are_both():
    fast = randomise(init_lora(PARAMS, KERNELS, 2, KEY), 1)
    style = randomise(init_lora(PARAMS, "two/kernel", 1, KEY), 2)
    both = compose([(fast, 0.5), (style, 2.0)])
    close(merge(PARAMS, both), merge(merge(PARAMS, fast, 0.5), style, 2.0))
    assert both["two"]["kernel"]["a"].shape == (6, 3) and both["one"]["kernel"]["a"].shape == (4, 2)
    close(unmerge(merge(PARAMS, both), style, 2.0), merge(PARAMS, fast, 0.5))
    close(unmerge(merge(PARAMS, fast), fast), PARAMS)


def test_only_the_deltas_train():
    def objective(params, frozen, batch, key):
        h = batch @ params["one"]["kernel"] @ params["two"]["kernel"] + params["two"]["bias"]
        reach = frozen["target"]["one"]["kernel"].sum() if "target" in frozen else 0.0
        return (h**2).mean(-1), {"target": jnp.asarray(reach), "frozen": jnp.asarray(len(frozen))}

    batch = jax.random.normal(KEY, (5, 4))
    lora = init_lora(PARAMS, KERNELS, 2, KEY)
    frozen = {"base": PARAMS, "teacher": {}}
    wrapped = with_lora(objective, 2.0)
    loss, metrics = wrapped(lora, frozen, batch, KEY)
    np.testing.assert_array_equal(loss, objective(PARAMS, {}, batch, KEY)[0])
    assert metrics["frozen"] == 1
    slopes = jax.grad(lambda p: wrapped(p, frozen, batch, KEY)[0].mean())(lora)
    assert set(flatten_dict(slopes, sep="/")) == {
        f"{name}/kernel/{part}" for name in ("one", "two") for part in "ab"
    }
    # While B is zero, only B has a gradient; a step along it lowers the loss.
    assert (slopes["one"]["kernel"]["a"] == 0).all() and jnp.abs(
        slopes["one"]["kernel"]["b"]
    ).max() > 0
    moved = jax.tree.map(lambda p, g: p - 1e-3 * g, lora, slopes)
    assert wrapped(moved, frozen, batch, KEY)[0].mean() < loss.mean()
    # An EMA target is a tree of deltas as well.
    ema = randomise(lora)
    _, metrics = wrapped(lora, {**frozen, "target": ema}, batch, KEY)
    np.testing.assert_allclose(
        metrics["target"], merge(PARAMS, ema, 2.0)["one"]["kernel"].sum(), rtol=1e-5
    )


def test_rank_is_no_more_than_a_kernel_has():
    lora = init_lora(PARAMS, "two/kernel", 64, KEY)
    assert lora["two"]["kernel"]["a"].shape == (6, 3) and lora["two"]["kernel"]["b"].shape == (3, 3)


def test_what_does_not_fit_is_an_error():
    with pytest.raises(UserError, match="rank = 0: must be at least 1"):
        init_lora(PARAMS, KERNELS, 0, KEY)
    with pytest.raises(UserError, match="no parameter matches 'head'"):
        init_lora(PARAMS, "head", 2, KEY)
    with pytest.raises(UserError, match=r"two/bias has the shape \(3,\)"):
        init_lora(PARAMS, "two", 2, KEY)
    lora = init_lora(PARAMS, KERNELS, 2, KEY)
    other = {**PARAMS, "one": {"kernel": jnp.ones((4, 7))}}
    with pytest.raises(UserError, match=r"one/kernel is \(4, 6\) there and \(4, 7\) here"):
        merge(other, lora)
    with pytest.raises(UserError, match=r"two/kernel is \(6, 3\) there and absent here"):
        merge({"one": PARAMS["one"]}, lora)
    with pytest.raises(UserError, match=r"one/kernel/b has the shapes \(2, 6\) and \(2, 7\)"):
        compose([(lora, 1.0), (init_lora(other, KERNELS, 2, KEY), 1.0)])
