import re

import numpy as np
import pytest
from PIL import Image

from drf_jax.cli.data import parse_options
from drf_jax.cli.main import main
from drf_jax.data.source import load_source
from drf_jax.errors import UserError

pytest.importorskip("tensorflow_datasets")


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(10):
        path = tmp_path / "pictures" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    return tmp_path / "pictures"


def test_a_data_set_is_prepared_and_read(tmp_path, pictures, capsys):
    argv = ["data", "prepare", "image_folder", f"--data_dir={tmp_path}/data", "--title", "toys"]
    argv += ["--options", f"images={pictures},size=4,test_fraction=0.3"]
    assert main(argv) == 0
    path, first, *_ = capsys.readouterr().out.splitlines()
    assert path == f"{tmp_path}/data/image_folder/toys/1.0.0"
    train, test = map(int, re.fullmatch(r"toys: 4×4×3; (\d+) train, (\d+) test", first).groups())
    source = load_source("image_folder", data_dir=tmp_path / "data", title="toys")
    assert (len(source), train + test) == (train, 10)
    assert main(argv) == 0  # again: nothing to do


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path, pictures, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    options = f"--options=images={pictures},size=4"
    assert main(["data", "prepare", "image_folder", "--data_dir=~/d", options]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/d/image_folder/1.0.0\n")
    assert len(load_source("image_folder", data_dir="~/d", split="train")) > 0


@pytest.mark.parametrize(
    "argv, problem",
    [
        ([], "which data set?"),
        (["emoji"], "--data_dir is missing"),
        (["nope", "--data_dir=d"], "'nope' cannot be prepared"),
        (["emoji", "x", "--data_dir=d"], "unexpected argument 'x'"),
        (["emoji", "--data_dir=d", "--options=seize=3"], "no option 'seize'; known: size"),
        (["emoji", "--data_dir=d", "--options=size=big"], "option size='big'"),
        (["emoji", "--data_dir=d", "--options=size"], "must be name=value"),
        (["emoji", "--data_dir=d", "--colour=red"], "unknown flag --colour"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys, argv, problem):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "prepare", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("drf: ") and err.count("\n") == 1 and problem in err


def test_options_are_names_with_values():
    assert parse_options("") == {}
    assert parse_options("a=1,b=x=y,c=") == {"a": "1", "b": "x=y", "c": ""}
    with pytest.raises(UserError, match="'a=2': a is given twice"):
        parse_options("a=1,a=2")
    with pytest.raises(UserError, match="title is a flag, --title"):
        parse_options("title=x")


@pytest.mark.parametrize(
    "argv, problem",
    [
        ([], "which data set?"),
        (["emoji"], "--data_dir is missing"),
        (["emoji", "--data_dir=d"], "'emoji' is not prepared in d; run: drf data prepare emoji"),
        (["emoji", "--data_dir=d", "--options=size=3"], "unknown flag --options"),
    ],
)
def test_mistakes_of_embedding_are_one_line(tmp_path, monkeypatch, capsys, argv, problem):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "embed", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("drf: ") and err.count("\n") == 1 and problem in err
