"""Multi-head self-attention over the positions of a feature map (Vaswani et al., 2017).

    out = softmax(q k^T / sqrt(d)) v W_o,    [q, k, v] = x W_qkv    (one fused product)

The residual connection, the norm and any modulation belong to the caller.

The backend says which program computes the softmax, with the same parameters and up to rounding the same numbers:
``xla`` writes the n x n weights to memory, ``cudnn`` is NVIDIA's flash attention (Dao, 2023, arXiv 2307.08691),
which does not. The less the positions, the less there is to gain.
"""

from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from drf_jax.errors import UserError
from drf_jax.networks.embed import parameter_dtype

BACKENDS = ("xla", "cudnn")


class SelfAttention(nn.Module):
    """``x [b, n, c] -> [b, n, c]``; ``c`` must be a multiple of ``heads``."""

    heads: int
    dtype: str = "float32"
    out_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    backend: str = "xla"

    @nn.compact
    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        b, n, c = x.shape
        options = {"dtype": self.dtype, "param_dtype": parameter_dtype(self.dtype)}
        qkv = nn.Dense(3 * c, name="qkv", **options)(x).reshape(b, n, 3, self.heads, -1)
        q, k, v = (qkv[:, :, i] for i in range(3))
        y = jax.nn.dot_product_attention(q, k, v, implementation=self.backend)
        return nn.Dense(c, kernel_init=self.out_init, name="out", **options)(y.reshape(b, n, c))


def check_backend(backend: str) -> None:
    """Raise unless there is such a backend."""
    if backend not in BACKENDS:
        raise UserError(f"attention_backend={backend!r}: choose one of {', '.join(BACKENDS)}")


def resolve_backend(backend: str, dtype: str, widths: tuple[int, ...], device: Any) -> str:
    """The backend to run on ``device``; ``auto`` is cuDNN where it can be used.

    Args:
      backend: ``auto`` or one of `BACKENDS`.
      dtype: of the computation.
      widths: features of a head, of every attention or of every different one.
      device: a ``jax.Device``.

    Raises:
      UserError: unknown, or not to be had here.
    """
    if backend not in ("auto", *BACKENDS):
        raise UserError(f"{backend!r}: choose one of auto, {', '.join(BACKENDS)}")
    if backend == "xla":
        return backend
    why = obstacle(dtype, widths, device)
    if why and backend == "cudnn":
        raise UserError(f"'cudnn' {why}; choose xla, or auto to take cudnn where it can be had")
    return "xla" if why else "cudnn"


def obstacle(dtype: str, widths: tuple[int, ...], device: Any) -> str:
    """What keeps cuDNN's attention from being used, as JAX checks it; empty if nothing does."""
    if "NVIDIA" not in device.device_kind:
        return f"needs an NVIDIA GPU, and the device is {device.device_kind}"
    if dtype != "bfloat16":
        return f"computes in bfloat16, and dtype is {dtype}"
    most = 256 if float(device.compute_capability) >= 9 else 128
    for width in widths:
        if width % 8 or width > most:
            return f"needs heads of 8, 16, … {most} features, and there are some of {width}"
    return ""
