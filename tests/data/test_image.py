import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.data.image import to_model, to_uint8
from drf_jax.errors import UserError

BYTES = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize("asarray", [np.asarray, jnp.asarray])
def test_every_byte_survives_the_round_trip(asarray):
    model = to_model(asarray(BYTES))
    assert type(model) is type(asarray(BYTES)) and model.dtype == np.float32
    assert (model[0], model[255]) == (-1, 1)
    np.testing.assert_array_equal(to_uint8(model), BYTES)


def test_to_uint8_rounds_halves_up_and_clips():
    # (x + 1) * 127.5 = 0.5, 1.5, 2.5: banker's rounding would give 0, 2, 2.
    halves = np.array([0.5, 1.5, 2.5], np.float64) / 127.5 - 1
    np.testing.assert_array_equal(to_uint8(halves + 1e-12), [1, 2, 3])
    np.testing.assert_array_equal(to_uint8(np.array([-9.0, 9.0, np.inf])), [0, 255, 255])


def test_nan_has_no_pixel():
    with pytest.raises(UserError, match="1 of 2 values are NaN"):
        to_uint8(np.array([0.0, np.nan]))
