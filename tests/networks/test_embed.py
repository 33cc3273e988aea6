import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.networks.embed import Embedding, parameter_dtype, sinusoid

T = jnp.array([0.1, 0.7])


def init(module, *args):
    return jax.eval_shape(module.init, jax.random.key(0), *args)


def test_sinusoid_values():
    t = jnp.array([0.0, 0.5])
    s = sinusoid(t, 6)
    np.testing.assert_allclose(s[0], [1, 1, 1, 0, 0, 0])
    angles = 500.0 * np.array([1.0, 10000 ** (-1 / 3), 10000 ** (-2 / 3)])
    np.testing.assert_allclose(s[1], np.r_[np.cos(angles), np.sin(angles)], atol=1e-4)


def test_sinusoid_of_drafts_is_sinusoid_of_each():
    times = jnp.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    np.testing.assert_array_equal(sinusoid(times)[1], sinusoid(times[1]))


def test_label_and_null_class_are_rows_of_the_table(make):
    module = Embedding(width=4, num_classes=3)
    params, apply = make(module, T, {"label": jnp.array([0, 1])})
    table = params["label"]["embedding"]
    assert table.shape == (4, 4)
    a = apply(params, T, {"label": jnp.array([0, 3])})
    b = apply(params, T, {"label": jnp.array([1, 2])})
    np.testing.assert_allclose(
        a - b, table[jnp.array([0, 3])] - table[jnp.array([1, 2])], atol=1e-6
    )


def test_caption_is_a_linear_map_and_zero_is_the_null_caption(make):
    module = Embedding(width=4, num_classes=3, caption_width=5)
    e, label = jnp.eye(2, 5), jnp.array([0, 1])
    params, apply = make(module, T, {"label": label, "caption": e})
    assert params["caption"].keys() == {"kernel"}
    c = apply(params, T, {"label": label, "caption": e})
    null = apply(params, T, {"label": label, "caption": 0 * e})
    np.testing.assert_allclose(c - null, 5**0.5 * params["caption"]["kernel"][:2], atol=1e-6)
    rest = {name: leaf for name, leaf in params.items() if name != "caption"}
    plain = Embedding(width=4, num_classes=3).apply({"params": rest}, T, {"label": label})
    np.testing.assert_allclose(null, plain, atol=1e-6)


def test_time_label_and_caption_start_at_one_size():
    rng, n = np.random.default_rng(0), 200
    captions = rng.standard_normal((n, 384)).astype(np.float32)
    captions = jnp.asarray(captions / np.linalg.norm(captions, axis=1, keepdims=True))
    module = Embedding(width=160, num_classes=n, caption_width=384)
    one = {"label": jnp.zeros(n, int), "caption": jnp.zeros((n, 384))}
    params = module.init(jax.random.key(0), jnp.zeros(n), one)
    told = lambda t, **cond: module.apply(params, t, one | cond)
    parts = {
        "time": told(jnp.linspace(0, 1, n)) - params["params"]["label"]["embedding"][0],
        "label": told(jnp.zeros(n), label=jnp.arange(n)) - told(jnp.zeros(n), label=jnp.full(n, n)),
        "caption": told(jnp.zeros(n), caption=captions) - told(jnp.zeros(n)),
    }
    parts["label"] /= 2**0.5  # a difference of two rows
    for name, part in parts.items():
        assert 0.3 < float(jnp.sqrt(jnp.mean(part**2))) < 0.5, name


def test_without_captions_the_parameters_are_what_they_were():
    shapes = init(Embedding(width=4, num_classes=3), T, {"label": jnp.array([0, 1])})["params"]
    assert shapes.keys() == {"time_in", "time_out", "label"}


def test_time_matters(make):
    params, apply = make(Embedding(width=4), T)
    c = apply(params, T)
    assert jnp.abs(c[0] - c[1]).max() > 1e-3


def test_missing_label_is_an_error():
    with pytest.raises(UserError, match=r"lacks the key 'label'.*num_classes=3"):
        init(Embedding(width=4, num_classes=3), T, None)
    with pytest.raises(UserError, match=r"lacks the key 'caption'.*caption_width=5"):
        init(Embedding(width=4, caption_width=5), T, None)


@pytest.mark.parametrize("classes", [0, 3])
def test_unknown_key_is_an_error(classes):
    cond = {"caption": jnp.zeros((2, 5)), "label": jnp.array([0, 1])}
    with pytest.raises(UserError, match="'caption'"):
        init(Embedding(width=4, num_classes=classes), T, cond)


def test_dtypes():
    assert parameter_dtype("bfloat16") == jnp.float32
    assert parameter_dtype("float64") == jnp.float64
    with pytest.raises(UserError, match="float16"):
        parameter_dtype("float16")
