import dataclasses

import pytest
from ml_collections import ConfigDict

from drf_jax.config import at_least, choose, read, split_name
from drf_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Section:
    steps: int
    rate: float = 0.5
    name: str = "a"
    on: bool = False
    clip: float | None = None
    widths: tuple[int, ...] = (1,)
    table: dict = dataclasses.field(default_factory=dict)


@pytest.mark.parametrize("make", [dict, ConfigDict])
def test_a_section_becomes_a_dataclass(make):
    made = read(Section, make({"steps": 3, "widths": (2, 4), "clip": 1.0, "on": True}), "config.s")
    assert made == Section(3, clip=1.0, widths=(2, 4), on=True)
    assert read(Section, make({"steps": 3, "clip": None}), "config.s").clip is None


def test_an_int_serves_as_a_float_and_a_list_as_a_tuple():
    made = read(Section, {"steps": 3, "rate": 2, "clip": 1, "widths": [5, 6]}, "config.s")
    assert (made.rate, made.clip, made.widths) == (2.0, 1.0, (5, 6))
    assert type(made.rate) is type(made.clip) is float


def test_nested_sections_become_plain_dictionaries():
    table = read(Section, ConfigDict({"steps": 1, "table": {"x": {"y": 2}}}), "config.s").table
    assert table == {"x": {"y": 2}}
    assert type(table["x"]) is dict


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"steps": 1, "stps": 2}, r"config\.s\.stps: unknown key; allowed: steps, rate, name"),
        ({"rate": 1.0}, r"config\.s\.steps is missing; it must be int"),
        ({"steps": 1.5}, r"config\.s\.steps = 1\.5: must be int"),
        ({"steps": True}, r"config\.s\.steps = True: must be int"),
        ({"steps": "1"}, r"config\.s\.steps = '1': must be int"),
        ({"steps": 1, "rate": True}, r"config\.s\.rate = True: must be float"),
        ({"steps": 1, "on": 1}, r"config\.s\.on = 1: must be bool"),
        ({"steps": 1, "name": 2}, r"config\.s\.name = 2: must be str"),
        ({"steps": 1, "clip": "x"}, r"config\.s\.clip = 'x': must be float or None"),
        ({"steps": 1, "widths": [1, "x"]}, r"config\.s\.widths\[1\] = 'x': must be int"),
        ({"steps": 1, "widths": 3}, r"config\.s\.widths = 3: must be tuple"),
        ({"steps": 1, "table": 3}, r"config\.s\.table = 3: must be a section"),
        (7, r"config\.s = 7: must be a section"),
    ],
)
def test_errors_name_the_key_and_what_is_allowed(section, message):
    with pytest.raises(UserError, match=message):
        read(Section, section, "config.s")


@pytest.mark.parametrize("name", ["c", None, 3, ["a"]])
def test_choose_lists_the_names(name):
    with pytest.raises(UserError, match=r"config\.x\.name = .*: choose one of a, b"):
        choose({"b": 1, "a": 2}, name, "config.x.name")
    assert choose({"b": 1, "a": 2}, "b", "config.x.name") == 1


def test_split_name():
    assert split_name(ConfigDict({"name": "dit", "width": 8}), "p") == ("dit", {"width": 8})
    with pytest.raises(UserError, match=r"p\.name is missing"):
        split_name({"width": 8}, "p")
    with pytest.raises(UserError, match="p = 'dit': must be a section"):
        split_name("dit", "p")


def test_at_least_names_the_first_that_is_less():
    at_least(3, Section(3), "config.s", "steps")
    with pytest.raises(UserError, match=r"config\.s\.rate = 0\.5: must be at least 1"):
        at_least(1, Section(3), "config.s", "steps", "rate")
