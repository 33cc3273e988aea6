import json

import pytest

from drf_jax.data.emoji_names import canonical, read_names
from drf_jax.errors import UserError


def row(hexcode, annotation, tags="", base="", openmoji_tags=""):
    return {
        "hexcode": hexcode,
        "annotation": annotation,
        "tags": tags,
        "openmoji_tags": openmoji_tags,
        "skintone_base_hexcode": base,
        "group": "hands",
    }


def test_all_spellings_of_a_code_are_one():
    spellings = ["0023-FE0F-20E3", "0023-fe0f-20e3", "23-20e3", "23_20e3"]
    assert {canonical(spelling) for spelling in spellings} == {"23-20e3"}


def test_a_skin_tone_borrows_keywords_and_names_its_base():
    rows = [
        row("1F44D-1F3FB", "thumbs up: light skin tone", base="1F44D"),
        row("1F44D", "thumbs up", "good, like", openmoji_tags="ok"),
        row("E000", "goldfish", openmoji_tags="fish"),
        row("2764-FE0F", "red heart"),
    ]
    names = read_names(json.dumps(rows).encode(), "x")
    assert names["1f44d-1f3fb"].caption == "thumbs up: light skin tone; good, like"
    assert names["1f44d-1f3fb"].base == names["1f44d"].base == "1f44d"
    assert names["e000"].caption == "goldfish; fish"
    assert (names["2764"].caption, names["2764"].group) == ("red heart", "hands")


@pytest.mark.parametrize("table", [b"", b"[1]", b'[{"hexcode": "1F44D"}]', b'[{"hexcode": "x"}]'])
def test_another_table_is_named(table):
    with pytest.raises(UserError, match=r"names.json: not OpenMoji's table"):
        read_names(table, "names.json")
