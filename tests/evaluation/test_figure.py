import numpy as np
import pytest
from PIL import Image

from drf_jax.errors import UserError
from drf_jax.evaluation.figure import image_grid, quality_figure, sample_figure
from drf_jax.evaluation.report import row

GREY = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)


def read(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_the_grid_shows_exact_pixels_in_reading_order(tmp_path):
    path = tmp_path / "new" / "grid.png"
    image_grid(path, GREY, columns=3)
    sheet, cell, gap = read(path), 48, 4
    assert sheet.shape == (gap + 2 * (cell + gap), gap + 3 * (cell + gap), 3)
    for i, image in enumerate(GREY):
        top, left = gap + i // 3 * (cell + gap), gap + i % 3 * (cell + gap)
        shown = sheet[top : top + cell : 6, left : left + cell : 6]
        np.testing.assert_array_equal(shown, np.repeat(image, 3, -1))
    assert (sheet[-cell:, -cell:] == 255).all()  # the sixth place is empty


def test_large_colour_images_are_not_enlarged(tmp_path):
    image_grid(tmp_path / "grid.png", COLOUR[:1])
    np.testing.assert_array_equal(read(tmp_path / "grid.png")[4:68, 4:68], COLOUR[0])


@pytest.mark.parametrize("images", [GREY, COLOUR])
def test_sample_figure_grows_with_methods_and_rows(tmp_path, images):
    sizes = {}
    for methods, rows in ((1, 2), (3, 2), (3, 9)):
        columns = {f"method-{i}": images for i in range(methods)}
        sample_figure(tmp_path / "s.png", columns, rows, {"method-0": "8 calls, FD 1.70"})
        sizes[methods, rows] = read(tmp_path / "s.png").shape
    assert sizes[3, 2][1] > 2 * sizes[1, 2][1]
    assert sizes[3, 9][0] > 1.5 * sizes[3, 2][0]


def test_sample_figure_shows_the_images(tmp_path):
    black = np.zeros((2, 8, 8, 1), np.uint8)
    dark = {}
    for name, images in (("black", black), ("white", black + 255)):
        sample_figure(tmp_path / "s.png", {"m": images})
        dark[name] = (read(tmp_path / "s.png") < 40).mean()
    assert dark["black"] > 0.4 > 0.05 > dark["white"]


def test_methods_with_other_images_are_refused(tmp_path):
    with pytest.raises(UserError, match="images of one shape"):
        sample_figure(tmp_path / "s.png", {"a": GREY, "b": GREY[:3]})
    with pytest.raises(UserError, match="images of one shape"):
        sample_figure(tmp_path / "s.png", {})


def test_quality_figure_needs_points_and_draws_them(tmp_path):
    with pytest.raises(UserError, match="no row has both"):
        quality_figure(tmp_path / "q.png", [row(method="ddim", fd=1.0)])
    rows = [
        row(method=method, sequential_calls=calls, fd=fd)
        for method, calls, fd in [("ddim 4", 4, 3.8), ("ddim 8", 8, 2.3), ("learned", 4, 1.7)]
    ]
    quality_figure(tmp_path / "q.png", rows)
    picture = read(tmp_path / "q.png").astype(int)
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):
        assert (np.abs(picture - colour).sum(-1) < 10).sum() > 100
