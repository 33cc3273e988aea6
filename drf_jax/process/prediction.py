"""`Prediction(x0, eps)`: the one currency between networks and samplers.

Whatever a network outputs at x_t = α x0 + σ ε is turned once into the pair (x0, ε), which always satisfies
x_t = α x0 + σ ε. With out the network's output:

    eps       ε  = out                      x0 = (x_t − σ ε) / α                                              (1)
    x0        x0 = out                      ε  = (x_t − α x0) / σ                                             (2)
    v         x0 = (α x_t − σ out) / n      ε  = (σ x_t + α out) / n,   n = α² + σ²    out = α ε − σ x0       (3)
    score     ε  = −σ out                   then as (1)                                                       (4)
    velocity  x0 = (x_t − σ out) / (α + σ)  ε  = (x_t + α out) / (α + σ)               out = ε − x0           (5)

    edm       x0 = c_skip x_t / α + c_out out                                         see `preconditioning`    (6)

(3) is Salimans & Ho 2022 (n = 1 for variance-preserving processes), (4) Song et al. 2021, (5) the velocity of a
rectified flow (Liu et al. 2023), (6) Karras et al. 2022; ε then follows as in (2).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from drf_jax.errors import UserError
from drf_jax.process import preconditioning

KINDS = ("eps", "x0", "v", "score", "velocity", "edm")


class Prediction(NamedTuple):
    """A denoiser's estimate of the clean state and of the noise; both shaped like the state."""

    x0: jax.Array
    eps: jax.Array


def expand(scale: ArrayLike, like: jax.Array) -> jax.Array:
    """Append axes to ``scale`` ``[...]`` so that it multiplies ``like`` ``[..., *state]``."""
    scale = jnp.asarray(scale, like.dtype)
    return scale.reshape(scale.shape + (1,) * (like.ndim - scale.ndim))


def check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise UserError(f"prediction = {kind!r}: choose one of {list(KINDS)}")


def from_output(
    kind: str,
    out: Float[Array, "*batch_state"],
    x: Float[Array, "*batch_state"],
    alpha: Float[Array, "*batch"],
    sigma: Float[Array, "*batch"],
) -> Prediction:
    """Turn a network's output into a prediction, equations (1)–(5).

    Args:
      kind: one of `KINDS`.
      out, x: output and state.
      alpha, sigma: α and σ of the state; their axes are the leading axes of x.
    """
    check_kind(kind)
    a, s = expand(alpha, x), expand(sigma, x)
    if kind == "eps":
        return Prediction((x - s * out) / a, out)
    if kind == "x0":
        return Prediction(out, (x - a * out) / s)
    if kind == "v":
        n = a * a + s * s
        return Prediction((a * x - s * out) / n, (s * x + a * out) / n)
    if kind == "score":
        return Prediction((x + s * s * out) / a, -s * out)
    if kind == "velocity":
        return Prediction((x - s * out) / (a + s), (x + a * out) / (a + s))
    c_skip, c_out, _ = preconditioning.coefficients(s / a)
    x0 = c_skip * x / a + c_out * out
    return Prediction(x0, (x - a * x0) / s)


def network_input(
    kind: str,
    x: Float[Array, "*batch_state"],
    alpha: Float[Array, "*batch"],
    sigma: Float[Array, "*batch"],
) -> jax.Array:
    """What the network is shown: x_t itself, or c_in x_t / α for ``edm``."""
    if kind != "edm":
        return x
    a, s = expand(alpha, x), expand(sigma, x)
    return preconditioning.coefficients(s / a)[2] * x / a


def to_output(
    kind: str,
    prediction: Prediction,
    alpha: Float[Array, "*batch"],
    sigma: Float[Array, "*batch"],
) -> jax.Array:
    """The network output that stands for a prediction: the inverse of `from_output`."""
    check_kind(kind)
    x0, eps = prediction
    a, s = expand(alpha, x0), expand(sigma, x0)
    if kind == "edm":
        c_skip, c_out, _ = preconditioning.coefficients(s / a)
        return (x0 - c_skip * (x0 + s / a * eps)) / c_out
    return {
        "eps": lambda: eps,
        "x0": lambda: x0,
        "v": lambda: a * eps - s * x0,
        "score": lambda: -eps / s,
        "velocity": lambda: eps - x0,
    }[kind]()
