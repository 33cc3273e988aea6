import pytest
from absl import flags
from ml_collections import ConfigDict

from drf_jax.cli.config_file import check_key, define_config, load_config
from drf_jax.errors import UserError

FILE = """
from ml_collections import ConfigDict


def get_config(arg="none"):
    train = {"steps": 1, "rate": 0.5, "on": False, "widths": (1, 2)}
    return ConfigDict({"arg": arg, "train": train})
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "config.py").write_text(FILE)
    return str(tmp_path / "config.py")


def parse(*argv):
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", "", "", flag_values=values)
    rest = values(define_config(values, ["train", *argv]))
    assert rest == ["train"]
    return values


def test_the_argument_goes_to_get_config(path):
    assert load_config(path).arg == "none"
    assert load_config(f"{path}:a=1,b:c").arg == "a=1,b:c"


@pytest.mark.parametrize("order", [1, -1])
def test_changed_keys_have_the_types_of_the_file(path, order):
    words = [
        *("--config.train.steps=7", "--config.train.rate=2", "--config.train.on"),
        *("--config.train.widths=(3, 4)", f"--config={path}:x", "--workdir=run"),
    ]
    values = parse(*words[::order])
    train = values.config.train.to_dict()
    assert train == {"steps": 7, "rate": 2.0, "on": True, "widths": (3, 4)}
    assert type(train["rate"]) is float
    assert (values.config.arg, values.workdir) == ("x", "run")


def test_values_may_be_words_of_their_own(path):
    values = parse("--config", path, "--config.train.steps", "7", "--workdir", "run")
    assert (values.config.train.steps, values.workdir) == (7, "run")


def test_a_flag_may_be_negated(path):
    assert parse("--config", path, "--noconfig.train.on").config.train.on is False
    with pytest.raises(UserError, match=r"--config\.train\.off: unknown key"):
        parse("--config", path, "--noconfig.train.off")


def test_every_command_reads_the_file_anew(path):
    assert parse("--config", path, "--config.train.steps=7").config.train.steps == 7
    assert parse("--config", path).config.train.steps == 1


def test_keys_are_looked_up():
    config = ConfigDict({"a": {"b": 1}})
    check_key(config, "a")
    check_key(config, "a.b")
    for key, message in {
        "c": "--config.c: unknown key; allowed in config: a",
        "a.c": "--config.a.c: unknown key; allowed in config.a: b",
        "a.b.c": "--config.a.b.c: config.a.b = 1 is a value without keys",
        "": "--config.: unknown key; allowed in config: a",
    }.items():
        with pytest.raises(UserError) as error:
            check_key(config, key)
        assert str(error.value) == message


def test_an_error_says_where_in_the_file_it_is(tmp_path):
    path = tmp_path / "config.py"
    path.write_text("def get_config(arg=''):\n    a = 1\n    return {}['missing']\n")
    with pytest.raises(UserError, match=f"--config {path}: line 3: KeyError: 'missing'$"):
        load_config(str(path))
    path.write_text("from drf_jax.errors import UserError\nraise UserError('as it is')\n")
    with pytest.raises(UserError, match=r"^as it is$"):
        load_config(str(path))
