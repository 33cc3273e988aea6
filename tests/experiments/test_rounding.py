"""How much of the difference between neighbours is rounding."""

import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.objectives.discretisation import Discretisation
from drf_jax.zoo.unpack import unpack


@pytest.fixture(scope="module")
def rounding(experiment):
    return experiment("rounding")


def test_neighbours_share_image_and_noise(rounding, untrained_teacher):
    cut = Discretisation(untrained_teacher.denoiser.process)
    x0 = jnp.linspace(-1, 1, 3 * 64).reshape(3, 8, 8, 1)
    made, process = rounding.pairs(cut, x0, 20, 3), cut.process
    noise = lambda x, t: np.asarray(
        (x - process.alpha(t)[:, None, None, None] * x0) / process.sigma(t)[:, None, None, None]
    )
    assert np.all(np.asarray(made.t) > np.asarray(made.s))
    np.testing.assert_allclose(noise(made.upper, made.t), noise(made.lower, made.s), atol=1e-2)


def test_cosine_and_error_of_known_differences(rounding):
    upper = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    lower = np.zeros((3, 2))
    assert rounding.compared((upper, lower), (upper, lower)) == (0.0, pytest.approx(1), 1.0)
    turned = upper[:, ::-1] * [1, -1]  # by a right angle
    error, median, quartile = rounding.compared((upper, lower), (turned, lower))
    assert error == pytest.approx(2.0) and median == quartile == pytest.approx(0)


def test_rounding_hides_close_neighbours_from_bfloat16(rounding, tmp_path, capsys):
    unpack("digits", tmp_path / "teacher")
    words = [f"--teacher={tmp_path / 'teacher'}", "--samples=16", "--batch=8", "--intervals=5,1280"]
    assert rounding.main(words) == 0
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    few, many = ([float(cell.replace(",", "")) for cell in row] for row in rows)
    for intervals, difference, error16, cosine16, _, error32, cosine32, _ in (few, many):
        assert error32 < 1e-5 < 1e-4 < error16, intervals
        assert cosine32 > 0.99 and -1 <= cosine16 <= 1 and difference > 0
    assert few[0] == 5 and many[0] == 1280 and few[1] > 5 * many[1]
    assert many[3] < 0.9 < few[3]


def test_what_is_wrong_is_said(rounding, tmp_path, capsys):
    assert rounding.main([f"--teacher={tmp_path / 'none'}"]) == 2
    assert "none" in capsys.readouterr().err
