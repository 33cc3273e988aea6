"""A small convolutional classifier whose last hidden layer is the feature space of our FD.

    image -> conv 32 -> (conv 64, stride 2) until at most 4x4 -> dense 64, relu (features)
          -> dense (logits)

The number of stride-2 stages follows from the image, so one network serves 8x8x1 to 64x64x3.
"""

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from drf_jax.typing import Params


class ClassifierNetwork(nn.Module):
    """Images in [-1, 1] to features and class logits.

    Attributes:
      num_classes: number of logits.
      features: width of the last hidden layer.
      width: channels of the first convolution; the later ones have twice as many.
    """

    num_classes: int
    features: int = 64
    width: int = 32

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"]
    ) -> tuple[Float[Array, "b features"], Float[Array, "b classes"]]:
        x = jax.nn.silu(nn.Conv(self.width, (3, 3))(image))
        while max(x.shape[1:3]) > 4:
            x = jax.nn.silu(nn.Conv(2 * self.width, (3, 3), strides=(2, 2))(x))
        features = nn.Dense(self.features, name="hidden")(x.reshape(x.shape[0], -1))
        features = jax.nn.relu(features)
        return features, nn.Dense(self.num_classes, name="logits")(features)


def feature_maps(
    network: ClassifierNetwork, params: Params, image: Float[Array, "b h w c"]
) -> tuple[Float[Array, "b _h _w _n"], ...]:
    """What the convolutions make of an image, after their silu: one map each, the finest first."""
    convolutions = lambda module, _: isinstance(module, nn.Conv)
    _, kept = network.apply(
        {"params": params}, image, capture_intermediates=convolutions, mutable=["intermediates"]
    )
    outputs = kept["intermediates"]
    return tuple(jax.nn.silu(outputs[f"Conv_{i}"]["__call__"][0]) for i in range(len(outputs)))


def rescale_features(params: Params, scale: float) -> Params:
    """Parameters whose features are ``scale`` > 0 times as large and whose logits are the same.

    relu(s (W x + b)) = s relu(W x + b), so s goes into the hidden layer and 1/s into the next one.
    """
    hidden = jax.tree.map(lambda leaf: leaf * scale, params["hidden"])
    logits = params["logits"] | {"kernel": params["logits"]["kernel"] / scale}
    return params | {"hidden": hidden, "logits": logits}
