import pytest
from PIL import Image

from drf_jax.errors import UserError
from drf_jax.evaluation.lines import Panel, line_figure

LINES = {"a": [(8, 0.1), (4, 0.2)], "b": [(4, 0.3), (17.6, 0.02)]}


def test_panels_stand_side_by_side(tmp_path):
    panel = Panel("one", "calls", "error", LINES, guides={"bound": [(4, 0.1), (17, 0.1)]})
    other = Panel("two", "calls", "ratio", {"c": [(1, -1.0), (8, 2.0)]}, y_scale="linear")
    sizes = []
    for panels, columns in (([panel], None), ([panel, other], None), ([panel] * 3, 2)):
        line_figure(tmp_path / "new" / "lines.png", panels, columns)
        with Image.open(tmp_path / "new" / "lines.png") as image:
            sizes.append(image.size)
    width, height = sizes[0]
    assert sizes[1:] == [(2 * width, height), (2 * width, 2 * height)]


def test_a_family_keeps_its_colour(tmp_path):
    # The same family alone in a second panel must be drawn as in the first, where it is the second.
    both = [Panel("one", "x", "y", LINES), Panel("two", "x", "y", {"b": LINES["b"]})]
    line_figure(tmp_path / "both.svg", both)
    text = (tmp_path / "both.svg").read_text()
    assert "#d55e00" in text
    alone = [Panel("two", "x", "y", {"b": LINES["b"]})]
    line_figure(tmp_path / "alone.svg", alone)
    assert "#d55e00" not in (tmp_path / "alone.svg").read_text()
    assert text.count("#0072b2") < text.count("#d55e00")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({}, "needs a point"),
        ({"a": []}, "needs a point"),
        ({"a": [(4, 0.0)]}, r"\(4, 0.0\) has no logarithm"),
        ({"a": [(0, 1.0)]}, r"\(0, 1.0\) has no logarithm"),
    ],
)
def test_what_cannot_be_drawn_is_named(tmp_path, lines, message):
    with pytest.raises(UserError, match=f"'one'.*{message}"):
        line_figure(tmp_path / "lines.png", [Panel("one", "x", "y", lines)])


def test_an_axis_has_ticks_whatever_its_numbers(tmp_path):
    """Also where no x is a whole number."""
    line_figure(tmp_path / "ms.svg", [Panel("", "", "", {"a": [(1.3, 0.11), (8.5, 0.13)]})])
    ticks = (tmp_path / "ms.svg").read_text().split('id="matplotlib.axis_2"')[0]
    assert ticks.count('id="xtick_') >= 2


def test_one_legend_names_every_line_once(tmp_path):
    panels = [
        Panel("one", "x", "y", LINES),
        Panel("two", "x", "y", {"b": LINES["b"], "c": [(1, 1)]}),
    ]
    named = {}
    for one in (False, True):
        line_figure(tmp_path / "l.svg", panels, one_legend=one)
        text = (tmp_path / "l.svg").read_text()
        named[one] = [text.count(f"<!-- {name} -->") for name in "abc"]
    assert named == {False: [1, 2, 1], True: [1, 1, 1]}
