"""The sentence encoder against a plain NumPy one, on random weights."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.networks.bert import SentenceBert, bert_params

TINY = SentenceBert(vocabulary=11, positions=9, width=6, depth=2, heads=3, mlp=10)
TOKENS = jnp.array([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]])
MASK = jnp.array([[True] * 5, [True] * 3 + [False] * 2])


@pytest.fixture(scope="module")
def tensors():
    """Weights under the published names."""
    rng, w = np.random.default_rng(0), TINY.width
    shapes = {
        "embeddings.word_embeddings.weight": (TINY.vocabulary, w),
        "embeddings.position_embeddings.weight": (TINY.positions, w),
        "embeddings.token_type_embeddings.weight": (2, w),
        "embeddings.LayerNorm.weight": (w,),
        "embeddings.LayerNorm.bias": (w,),
        "pooler.dense.weight": (w, w),
    }
    for i in range(TINY.depth):
        for name, (rows, columns) in {
            "attention.self.query": (w, w),
            "attention.self.key": (w, w),
            "attention.self.value": (w, w),
            "attention.output.dense": (w, w),
            "intermediate.dense": (TINY.mlp, w),
            "output.dense": (w, TINY.mlp),
        }.items():
            shapes[f"encoder.layer.{i}.{name}.weight"] = (rows, columns)
            shapes[f"encoder.layer.{i}.{name}.bias"] = (rows,)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"encoder.layer.{i}.{name}.weight"] = (w,)
            shapes[f"encoder.layer.{i}.{name}.bias"] = (w,)
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def plain(tensors, tokens):
    """One sentence without padding, in NumPy."""
    w, b = (lambda n: tensors[f"{n}.weight"]), (lambda n: tensors[f"{n}.bias"])

    def norm(h, name):
        h = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-12)
        return h * w(name) + b(name)

    h = w("embeddings.word_embeddings")[tokens]
    h = h + w("embeddings.position_embeddings")[: len(tokens)]
    h = norm(h + w("embeddings.token_type_embeddings")[0], "embeddings.LayerNorm")
    for i in range(TINY.depth):
        at = f"encoder.layer.{i}"
        product = lambda h, name, at=at: h @ w(f"{at}.{name}").T + b(f"{at}.{name}")
        heads = [
            np.split(product(h, f"attention.self.{name}"), TINY.heads, -1)
            for name in ("query", "key", "value")
        ]
        mixed = []
        for q, k, v in zip(*heads, strict=True):
            scores = np.exp(q @ k.T / math.sqrt(q.shape[-1]))
            mixed.append(scores / scores.sum(-1, keepdims=True) @ v)
        a = product(np.concatenate(mixed, -1), "attention.output.dense")
        h = norm(h + a, f"{at}.attention.output.LayerNorm")
        m = product(h, "intermediate.dense")
        m = m * (1 + np.vectorize(math.erf)(m / math.sqrt(2))) / 2
        h = norm(h + product(m, "output.dense"), f"{at}.output.LayerNorm")
    return h.mean(0) / np.linalg.norm(h.mean(0))


def test_it_is_bert_with_mean_pooling_and_padding_is_not_seen(tensors):
    with jax.enable_x64(True):
        params = bert_params(TINY, tensors)
        encode = lambda tokens, mask: TINY.apply({"params": params}, tokens, mask)
        e = encode(TOKENS, MASK)
        np.testing.assert_allclose(e[0], plain(tensors, TOKENS[0]), atol=1e-12)
        np.testing.assert_allclose(e[1], plain(tensors, TOKENS[1, :3]), atol=1e-12)
        noise = jnp.where(MASK, TOKENS, 7)
        np.testing.assert_allclose(encode(noise, MASK), e, atol=1e-12)


def test_vectors_have_length_one(tensors):
    params = bert_params(TINY, {k: v.astype(np.float32) for k, v in tensors.items()})
    e = TINY.apply({"params": params}, TOKENS, MASK)
    assert e.dtype == jnp.float32
    np.testing.assert_allclose(jnp.linalg.norm(e, axis=-1), 1, atol=1e-6)


def test_another_networks_weights_are_refused_by_name(tensors):
    name = "encoder.layer.1.output.dense.weight"
    with pytest.raises(UserError, match=f"tensor {name!r} is missing"):
        bert_params(TINY, {k: v for k, v in tensors.items() if k != name})
    with pytest.raises(UserError, match=rf"{name!r} is \(10, 6\), not \(6, 10\)"):
        bert_params(TINY, {**tensors, name: tensors[name].T})
    with pytest.raises(UserError, match=r"no tensor 'encoder\.layer\.2\.x'"):
        bert_params(TINY, {**tensors, "encoder.layer.2.x": np.zeros(3)})
