import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.process.schedule import CosineVP, RectifiedFlow, ShiftedCosine
from drf_jax.sampling.grid import check_name, make_grid, uniform

PROCESSES = (CosineVP(), RectifiedFlow())


@pytest.mark.parametrize("process", PROCESSES)
def test_shifted_and_power_by_one_are_uniform(process):
    for name in ("shifted:1", "power:1"):
        np.testing.assert_allclose(make_grid(name, process, 7), uniform(process, 7), atol=1e-12)


def test_shifted_is_timestep_shifting():
    """Esser et al. 2024, equation (23), of time as the share of noise: u → s u / (1 + (s − 1) u)."""
    u = np.linspace(1, 0, 9)
    made = make_grid("shifted:3", RectifiedFlow(), 8)
    np.testing.assert_allclose(made, 3 * u / (1 + 2 * u), atol=1e-12)


def test_shifted_has_the_noise_of_the_shifted_schedule():
    process, shifted = CosineVP(), ShiftedCosine(4.0)
    made = make_grid("shifted:4", process, 8)
    assert made[0] == process.t_max and made[-1] == 0
    top = shifted.time(process.log_snr(process.t_max))
    even = np.linspace(top, 0, 9)
    np.testing.assert_allclose(process.log_snr(made[1:-1]), shifted.log_snr(even[1:-1]), rtol=1e-9)


def test_power_is_finer_at_the_noise_above_one_and_at_the_data_below():
    process = CosineVP(t_max=0.8)
    np.testing.assert_allclose(
        make_grid("power:2", process, 4), 0.8 * np.array([16, 15, 12, 7, 0]) / 16
    )
    steps = -np.diff(make_grid("power:0.5", process, 5))
    assert np.all(np.diff(steps) < 0)


@pytest.mark.parametrize(
    "name, said",
    [
        ("shifted", "'shifted': shifted takes a positive number, as in 'shifted:2'"),
        ("shifted:", "'shifted:': shifted takes a positive number"),
        ("power:-1", "'power:-1': power takes a positive number"),
        ("power:two", "'power:two': power takes a positive number"),
        ("shifted:inf", "'shifted:inf': shifted takes a positive number"),
        ("uniform:2", "'uniform:2': choose one of .*karras, .*power:NUMBER, shifted:NUMBER"),
        ("fine", "'fine': choose one of"),
    ],
)
def test_a_wrong_name_is_told(name, said):
    with pytest.raises(UserError, match=f"grid = {said}"):
        check_name(name)


def test_a_grid_that_repeats_a_time_is_refused():
    with pytest.raises(UserError, match="'power:1e-20' with 9 steps is too fine"):
        make_grid("power:1e-20", RectifiedFlow(), 9)
