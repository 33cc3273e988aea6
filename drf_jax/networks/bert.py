"""BERT as a sentence encoder, inference only (Devlin et al., 2019, arXiv 1810.04805).

    h <- LN(word + position + segment)                                                          (1)
    h <- LN(h + W_o attention(h)),    h <- LN(h + W_2 gelu(W_1 h))     in each block            (2)
    e = m / |m|,    m = mean of h over the sentence's tokens                                    (3)

There is one segment. (3) is Sentence-BERT's pooling (Reimers & Gurevych, 2019, arXiv 1908.10084).
The modules have the names of the published tensors.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Bool, Float, Int

from drf_jax.errors import UserError
from drf_jax.typing import Params

EPS = 1e-12
UNUSED = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")
"""Published tensors that (1) to (3) do without."""


def _norm(name: str) -> nn.Module:
    return nn.LayerNorm(EPS, name=name)


class Block(nn.Module):
    """Equation (2)."""

    heads: int
    mlp: int

    @nn.compact
    def __call__(self, h: Float[Array, "b n w"], mask: Bool[Array, "b n"]) -> Float[Array, "b n w"]:
        b, n, width = h.shape

        def project(name):
            return nn.Dense(width, name=f"attention.self.{name}")(h).reshape(b, n, self.heads, -1)

        q, k, v = map(project, ("query", "key", "value"))
        a = jax.nn.dot_product_attention(q, k, v, mask=mask[:, None, None, :])
        a = nn.Dense(width, name="attention.output.dense")(a.reshape(b, n, width))
        h = _norm("attention.output.LayerNorm")(h + a)
        m = nn.gelu(nn.Dense(self.mlp, name="intermediate.dense")(h), approximate=False)
        return _norm("output.LayerNorm")(h + nn.Dense(width, name="output.dense")(m))


class SentenceBert(nn.Module):
    """``(tokens [b, n], mask [b, n]) -> e [b, width]``, where the mask is true at a sentence's tokens.

    The sizes are those of MiniLM-L6 (Wang et al., 2020, arXiv 2002.10957).
    """

    vocabulary: int = 30522
    positions: int = 512
    width: int = 384
    depth: int = 6
    heads: int = 12
    mlp: int = 1536

    @nn.compact
    def __call__(self, tokens: Int[Array, "b n"], mask: Bool[Array, "b n"]) -> Float[Array, "b w"]:
        def embed(name, rows, index):
            return nn.Embed(rows, self.width, name=f"embeddings.{name}_embeddings")(index)

        h = embed("word", self.vocabulary, tokens)
        h += embed("position", self.positions, jnp.arange(tokens.shape[1]))
        h += embed("token_type", 2, jnp.zeros_like(tokens))
        h = _norm("embeddings.LayerNorm")(h)
        for i in range(self.depth):
            h = Block(self.heads, self.mlp, name=f"encoder.layer.{i}")(h, mask)
        total = jnp.sum(h, axis=1, where=mask[:, :, None])
        return total / jnp.linalg.norm(total, axis=-1, keepdims=True)


def bert_params(network: SentenceBert, tensors: Mapping[str, np.ndarray]) -> Params:
    """Parameters of the network from the published tensors (products in PyTorch's layout, out by in).

    Raises:
      UserError: a tensor is missing, unknown or of another shape: another network's weights.
    """
    tokens = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    mask = jax.ShapeDtypeStruct((1, 2), jnp.bool)
    tree = jax.eval_shape(network.init, jax.random.key(0), tokens, mask)["params"]
    left = {name: tensor for name, tensor in tensors.items() if name not in UNUSED}

    def take(path, leaf):
        module, _, kind = ".".join(path).rpartition(".")
        name = f"{module}.bias" if kind == "bias" else f"{module}.weight"
        if name not in left:
            raise UserError(f"sentence encoder: the tensor {name!r} is missing")
        tensor, shape = left.pop(name), leaf.shape[::-1] if kind == "kernel" else leaf.shape
        if tensor.shape != shape:
            raise UserError(f"sentence encoder: {name!r} is {tensor.shape}, not {shape}")
        return jnp.asarray(tensor.T if kind == "kernel" else tensor)

    params = {path: take(path, leaf) for path, leaf in flatten_dict(tree).items()}
    if left:
        raise UserError(f"sentence encoder: there is no tensor {min(left)!r} in this network")
    return unflatten_dict(params)
