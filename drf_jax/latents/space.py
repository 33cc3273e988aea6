"""Between images and the latents that a diffusion model works on (Rombach et al. 2022, arXiv 2112.10752).

    q(z | image) = N(μ, s²),   (μ, log s²) = encoder(image)                                                         (1)
    latent = scale (z − shift),            z = μ + s ε, or μ itself                                                 (2)
    image = decoder(latent / scale + shift)                                                                         (3)

(2) brings latents to unit variance, where the process starts. Scale and shift are applied here and nowhere else.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax import pytree
from drf_jax.networks.autoencoder import Autoencoder, Decoder, Encoder
from drf_jax.typing import Params, PRNGKeys

SCALES = {"stable-diffusion": 0.18215, "stable-diffusion-xl": 0.13025}
"""Of published autoencoders, all with shift 0."""


def posterior(
    moments: Float[Array, "b h w two_c"],
) -> tuple[Float[Array, "b h w c"], Float[Array, "b h w c"]]:
    """Mean and standard deviation of equation (1); the log-variance is held within [−30, 20]."""
    mean, log_variance = jnp.split(moments, 2, axis=-1)
    return mean, jnp.exp(jnp.clip(log_variance, -30, 20) / 2)


@pytree.register
@dataclasses.dataclass(frozen=True)
class LatentSpace:
    """An autoencoder with its parameters ``{"encoder": …, "decoder": …}``; one of them may be left out if unused."""

    params: Params
    net: Autoencoder = pytree.static()
    scale: float = pytree.static(default=0.18215)
    shift: float = pytree.static(default=0.0)

    def encode(
        self, image: Float[Array, "b height width n"], keys: PRNGKeys | None = None
    ) -> Float[Array, "b h w c"]:
        """Equation (2): a sample of the latent with a key per image, its mean without."""
        moments = Encoder(self.net).apply({"params": self.params["encoder"]}, image)
        z, std = posterior(moments)
        if keys is not None:
            draw = lambda key: jax.random.normal(key, z.shape[1:], z.dtype)
            z = z + std * jax.vmap(draw)(keys)
        return self.scale * (z - self.shift)

    def decode(self, latent: Float[Array, "b h w c"]) -> Float[Array, "b height width n"]:
        """Equation (3)."""
        z = latent / self.scale + self.shift
        return Decoder(self.net).apply({"params": self.params["decoder"]}, z)
