import pytest

from drf_jax.data.card import Card, read_card, write_card
from drf_jax.errors import UserError

CARD = Card("cats", "1.0.0", (2, 2, 3), {"train": 3}, "label", {"label": ["a", "ü"]}, ("caption",))


def test_a_card_survives_its_file(tmp_path):
    write_card(tmp_path, CARD)
    assert read_card(tmp_path) == CARD


def test_no_card_means_no_data_set(tmp_path):
    with pytest.raises(UserError, match=r"card.json: no such file"):
        read_card(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"family": "cats"}', '{"familie": 1}', "\udcff"])
def test_a_damaged_card_is_named(tmp_path, text):
    (tmp_path / "card.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"card.json: not the card"):
        read_card(tmp_path)
