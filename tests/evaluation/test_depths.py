import numpy as np
import pytest
from PIL import Image

from drf_jax.errors import UserError
from drf_jax.evaluation.depths import depth_figure


def test_places_without_samples_stay_white(tmp_path):
    black = np.zeros((4, 8, 8, 1), np.uint8)
    path = tmp_path / "sub" / "figure.png"
    depth_figure(path, {("ddim", 1): black, ("lcm", 1): black, ("lcm", 4): black}, (1, 4))
    dark = np.asarray(Image.open(path).convert("L")) < 10
    height, width = dark.shape
    top, middle = dark[: height // 2], width * 23 // 40  # label 1.9 in, then two blocks of 2.2 in
    assert dark.mean() > 0.2
    assert top[:, middle + width // 20 :].mean() < 0.05 < 0.3 < top[:, width // 3 : middle].mean()


def test_nothing_to_show_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no family"):
        depth_figure(tmp_path / "figure.png", {}, (1, 4))
