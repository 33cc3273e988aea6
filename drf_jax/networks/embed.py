"""Conditioning vector: what the whole network knows about time and condition.

Time enters as sinusoids of 1000 t (t in [0, 1]; the scale makes it the familiar discrete step),

    s_i(t) = cos(1000 t w_i),  sin(1000 t w_i),    w_i = 10000^(-i / half),    i = 0 .. half - 1,

followed by a two-layer MLP. With classes, a learned row for each label is added; the table has one
row more than there are classes, and index ``num_classes`` is the *null* class of classifier-free
guidance (Ho & Salimans, 2022). With captions, vectors e of length 1 (`drf_jax.text`),

    c += W sqrt(d) e,    d = caption_width

is added: the root gives e's entries the size 1 on average, and there is no offset, so e = 0 adds
nothing and is the *null* caption (a learned one would be no richer: sentences have a common mean, so
W can set them off from 0 by any constant). Time, label and caption then start at one size, ``PART`` an
entry, or the smaller would be learned late. A network with ``guidance`` is told the guidance weight w
of its teacher, a number up to about 10, as sinusoids of w / 10 through a product that starts at zero:
w has no effect at first.
"""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.errors import UserError
from drf_jax.typing import Cond, Time

FEATURES = 256
GUIDANCE_RANGE = 10.0
PART = 0.4
"""Root mean square of what time adds to an entry at the start."""
DTYPES = ("bfloat16", "float32", "float64")


def sinusoid(t: Float[Array, "*batch"], features: int = FEATURES) -> Float[Array, "*batch f"]:
    """Sinusoids of time, ``features`` of them (an even number), cosines first."""
    half = features // 2
    frequencies = jnp.exp(-math.log(10000.0) * jnp.arange(half, dtype=t.dtype) / half)
    angles = 1000.0 * t[..., None] * frequencies
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def parameter_dtype(dtype: str) -> Any:
    """The dtype parameters are stored in: float32, or more if the network computes in more.

    Raises:
      UserError: ``dtype`` is not one that networks compute in.
    """
    if dtype not in DTYPES:
        raise UserError(f"dtype={dtype!r}: must be one of {', '.join(DTYPES)}")
    return jnp.promote_types(dtype, jnp.float32)


class Embedding(nn.Module):
    """``(t [b], cond) -> c [b, width]``.

    Raises:
      UserError: a label, a caption or a weight is needed and missing, or ``cond`` has a key that the
        network doesn't know.
    """

    width: int
    num_classes: int = 0
    dtype: str = "float32"
    guidance: bool = False
    caption_width: int = 0

    @nn.compact
    def __call__(self, t: Time, cond: Cond = None) -> Float[Array, "b e"]:
        cond = {} if cond is None else cond
        self.check(cond)
        options = {"dtype": self.dtype, "param_dtype": parameter_dtype(self.dtype)}
        c = nn.Dense(self.width, name="time_in", **options)(sinusoid(t))
        c = nn.Dense(self.width, name="time_out", **options)(nn.silu(c))
        init = nn.initializers
        if self.num_classes:
            beside = {"embedding_init": init.normal(PART)} if self.caption_width else {}
            rows = nn.Embed(self.num_classes + 1, self.width, name="label", **beside, **options)
            c += rows(cond["label"])
        if self.caption_width:
            e = math.sqrt(self.caption_width) * cond["caption"]
            start = init.variance_scaling(PART**2, "fan_in", "truncated_normal")
            c += nn.Dense(self.width, False, kernel_init=start, name="caption", **options)(e)
        if self.guidance:
            w = sinusoid(cond["guidance"] / GUIDANCE_RANGE)
            c += nn.Dense(self.width, False, kernel_init=init.zeros, name="guidance", **options)(w)
        return c

    def check(self, cond: dict[str, Any]) -> None:
        known = {
            "label": self.num_classes > 0,
            "caption": self.caption_width > 0,
            "guidance": self.guidance,
        }
        known = {name for name, used in known.items() if used}
        has = f"num_classes={self.num_classes}, caption_width={self.caption_width}, guidance={self.guidance}"
        if unknown := sorted(set(cond) - known):
            allowed = ", ".join(sorted(known)) or f"none ({has})"
            raise UserError(f"cond has the key {unknown[0]!r}; this network knows: {allowed}")
        if missing := sorted(known - set(cond)):
            raise UserError(f"cond lacks the key {missing[0]!r}: the network has {has}")
