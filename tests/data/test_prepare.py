import pytest

from drf_jax.data import prepare as module
from drf_jax.data.card import Card, read_card
from drf_jax.data.prepare import Recipe, prepare
from drf_jax.errors import UserError


class Writer:
    """A recipe that writes a file and a card, or dies between the two."""

    def __init__(self):
        self.calls, self.dies = 0, False

    def __call__(self, folder, cache, size: int = 4, colour: str = "red"):
        self.calls += 1
        assert list(folder.iterdir()) == []
        (folder / "toy" / "2.0.0").mkdir(parents=True)
        (folder / "toy" / "2.0.0" / "records").write_text(colour)
        if self.dies:
            raise KeyboardInterrupt
        card = Card("toy", "2.0.0", (size, size, 3), {"train": 1}, "label", {"label": ["a"]})
        return folder / "toy" / "2.0.0", card


@pytest.fixture
def writer(monkeypatch):
    writer = Writer()
    monkeypatch.setitem(module.RECIPES, "toy", Recipe("2.0.0", writer))
    return writer


def test_a_data_set_is_prepared_once(tmp_path, writer):
    folder = prepare("toy", tmp_path, size=8)
    assert folder == tmp_path / "toy" / "2.0.0" == prepare("toy", tmp_path, size=8)
    assert writer.calls == 1 and list(folder.parent.iterdir()) == [folder]
    card = read_card(folder)
    assert card.image_shape == (8, 8, 3) and card.options == {"size": 8, "colour": "red"}


def test_a_killed_preparation_leaves_nothing_that_looks_whole(tmp_path, writer):
    writer.dies = True
    with pytest.raises(KeyboardInterrupt):
        prepare("toy", tmp_path)
    assert list((tmp_path / "toy").iterdir()) == []
    partial = tmp_path / "toy" / ".partial-2.0.0" / "toy" / "2.0.0"
    partial.mkdir(parents=True)  # as after SIGKILL, when nothing cleans up
    (partial / "records").write_text("half")
    writer.dies = False
    assert (prepare("toy", tmp_path) / "records").read_text() == "red"
    assert [path.name for path in (tmp_path / "toy").iterdir()] == ["2.0.0"]


def test_other_options_need_a_title(tmp_path, writer):
    prepare("toy", tmp_path)
    assert prepare("toy", tmp_path, size="4") == tmp_path / "toy" / "2.0.0"  # the default, as text
    with pytest.raises(UserError, match=r"prepared with .*'red'.*not .*'blue'.*give a title"):
        prepare("toy", tmp_path, colour="blue")
    blue = prepare("toy", tmp_path, title="blue", colour="blue")
    assert blue == tmp_path / "toy" / "blue" / "2.0.0" and read_card(blue).family == "blue"


def test_a_folder_from_elsewhere_is_left_alone(tmp_path, writer):
    foreign = tmp_path / "toy" / "2.0.0" / "dataset_info.json"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("{}")
    with pytest.raises(UserError, match=r"2.0.0: exists without card.json"):
        prepare("toy", tmp_path)
    assert foreign.exists() and writer.calls == 0


@pytest.mark.parametrize(
    "name, options, problem",
    [
        ("tony", {}, "'tony' cannot be prepared; these can: .*cifar10.*emoji"),
        ("toy", {"sise": 3}, "no option 'sise'; known: size, colour"),
        ("toy", {"size": "4.5"}, "size='4.5' must be of the type int"),
        ("toy", {"title": "a/b"}, "title 'a/b'"),
        ("toy", {"title": ".hidden"}, "title '.hidden'"),
        ("cifar10", {"size": 3}, "no option 'size'; known: none"),
        ("image_folder", {}, "needs the option 'images'"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(tmp_path, writer, name, options, problem):
    with pytest.raises(UserError, match=problem):
        prepare(name, tmp_path, **options)
    assert list(tmp_path.iterdir()) == []
