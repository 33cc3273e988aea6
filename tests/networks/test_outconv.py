import flax.linen as nn
import jax
import numpy as np

from drf_jax.networks.outconv import OutConv

H = jax.random.normal(jax.random.key(0), (2, 4, 5, 8))


def test_equals_a_convolution_with_the_same_parameters(make):
    params, apply = make(OutConv(3), H)
    expected = nn.Conv(3, (3, 3)).apply({"params": params}, H)
    np.testing.assert_allclose(apply(params, H), expected, atol=1e-5)
