import pytest

from drf_jax.errors import UserError
from drf_jax.runs.accelerators import VISIBLE, Places
from drf_jax.turns import VARIABLE


def test_each_place_is_on_one_accelerator_and_is_given_back(tmp_path, monkeypatch):
    monkeypatch.setenv(VISIBLE, "4,6")
    places = Places(2, 4, tmp_path)
    with places.one() as a, places.one() as b, places.one() as c, places.one():
        assert [mine[VISIBLE] for mine in (a, b, c)] == ["4", "6", "4"]
        assert a[VARIABLE] == c[VARIABLE] != b[VARIABLE]
    with places.one() as again:
        assert again in (a, b)


def test_alone_on_its_accelerator_nobody_takes_turns(tmp_path, monkeypatch):
    monkeypatch.delenv(VISIBLE, raising=False)
    with Places(2, 2, tmp_path).one() as mine:
        assert mine == {VISIBLE: "0"}
    with Places(1, 1, tmp_path).one() as mine:
        assert mine == {}


def test_more_accelerators_than_there_are_to_see(tmp_path, monkeypatch):
    monkeypatch.setenv(VISIBLE, "0")
    with pytest.raises(UserError, match="--accelerators=2: CUDA_VISIBLE_DEVICES=0 are 1"):
        Places(2, 2, tmp_path)


def test_other_commands_are_on_the_accelerators_too(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "a:b")
    places = Places(2, 2, tmp_path)
    with places.one() as first, places.one() as second:
        assert [first[VARIABLE], second[VARIABLE]] == ["a", "b"]
    with pytest.raises(
        UserError, match="DRF_TURNS=a:b: name one file for each of --accelerators=1"
    ):
        Places(1, 3, tmp_path)
