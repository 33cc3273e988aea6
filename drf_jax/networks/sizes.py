"""Networks of published size, described: for timing with random weights, and to be trained.

DiT: Peebles & Xie 2023 (arXiv 2212.09748), table 1, on latents of 4 channels with 1000 classes. ``sd-unet`` is a U-Net
of Stable Diffusion's widths (Rombach et al. 2022, arXiv 2112.10752) without its text cross-attention.
"""

from typing import Any

import flax.linen as nn
import jax

from drf_jax.networks.dit import DiT
from drf_jax.networks.network import Backbone
from drf_jax.networks.unet import UNet
from drf_jax.typing import Params


def dit(width: int, depth: int, heads: int) -> DiT:
    return DiT(channels=4, patch=2, width=width, depth=depth, heads=heads, num_classes=1000)


SIZES: dict[str, Backbone] = {
    "dit-s/2": dit(384, 12, 6),
    "dit-b/2": dit(768, 12, 12),
    "dit-l/2": dit(1024, 24, 16),
    "dit-xl/2": dit(1152, 28, 16),
    "sd-unet": UNet(
        channels=4,
        width=320,
        multipliers=(1, 2, 4, 4),
        blocks=2,
        attention=(True, True, True, False),
        heads=8,
        num_classes=1000,
    ),
}


def random_params(network: nn.Module, *args: Any, dtype: str = "bfloat16") -> Params:
    """Parameters of ``network`` for these arguments: normal numbers times 0.02, drawn once and cut for each leaf.

    They change no latency, and unlike zeros they make the arithmetic units work. Quick to make at any size.
    """
    shapes = jax.eval_shape(network.init, jax.random.key(0), *args)["params"]
    largest = max(leaf.size for leaf in jax.tree.leaves(shapes))
    draw = 0.02 * jax.random.normal(jax.random.key(1), (largest,), dtype)
    return jax.tree.map(lambda leaf: draw[: leaf.size].reshape(leaf.shape), shapes)
