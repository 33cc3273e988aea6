import numpy as np
import pytest

from drf_jax.cli import measure
from drf_jax.cli.main import main
from drf_jax.configs import digits
from drf_jax.data.digits import Digits
from drf_jax.errors import UserError
from drf_jax.evaluation.features import load_classifier
from drf_jax.evaluation.statistics_file import load_statistics

CONFIG = """
from ml_collections import ConfigDict
def get_config(arg=""):
    return ConfigDict({"data": {"name": "digits", "limit": 300}})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A config, and the classifier that was trained from it."""
    folder = tmp_path_factory.mktemp("measure")
    (folder / "c.py").write_text(CONFIG)
    argv = ["features", "train", f"--config={folder}/c.py", f"--out={folder}/f.npz", "--steps=60"]
    assert main(argv) == 0
    return folder


def test_the_classifier_tells_how_good_it_is(folder, capsys):
    facts = load_classifier(folder / "f.npz").provenance
    assert facts["dataset"] == "digits" and facts["steps"] == 60
    assert facts["accuracy"] > 0.7  # chance is 0.1
    assert facts["floor_images"] == 150 and 0 < facts["floor_fd"] < 64


@pytest.mark.parametrize(("flags", "steps"), [([], 60), (["--steps=7"], 7)])
def test_updates_are_the_configs_unless_given(tmp_path, monkeypatch, flags, steps):
    given = []

    def train_features(config, out, steps, seed):
        given.append(steps)
        raise UserError("enough")

    monkeypatch.setattr(measure, "train_features", train_features)
    argv = ["features", "train", f"--config={digits.__file__}:smoke", f"--out={tmp_path}/f.npz"]
    assert main([*argv, *flags]) == 2
    assert given == [steps]


def test_statistics_say_what_they_are_of(folder, capsys):
    out = folder / "s.npz"
    argv = ["stats", f"--config={folder}/c.py", f"--out={out}", f"--features={folder}/f.npz"]
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith(f"{out}\ndigits/train: 300 images, classifier-64")
    statistics, provenance = load_statistics(out)
    classifier = load_classifier(folder / "f.npz")
    images = np.stack([Digits()[i]["image"] for i in range(300)])
    features = classifier.extract(images).astype(np.float64)
    np.testing.assert_allclose(statistics.mean, features.mean(0), rtol=1e-5)
    np.testing.assert_allclose(statistics.covariance, np.cov(features.T), rtol=1e-4, atol=1e-6)
    assert provenance.weights_sha256 == classifier.weights_sha256
    assert (provenance.split, provenance.count) == ("train", 300)


@pytest.mark.parametrize(
    "flags, problem",
    [
        ([], "give one of --features FILE"),
        (["--features=a", "--inception=b"], "give one of --features FILE"),
        (["--features=none.npz"], "none.npz does not exist"),
        (["--inception=none.pth", "--resize=clean-fid"], "none.pth does not exist"),
        (["--inception=none.pth", "--resize=nearest"], "pytorch-fid"),
        (["--features={f}", "--split=test"], "'digits' has no splits, so no 'test'"),
        (["--features={f}", "--out="], "--out is missing"),
    ],
)
def test_mistakes_are_one_line(folder, tmp_path, monkeypatch, capsys, flags, problem):
    monkeypatch.chdir(tmp_path)
    flags = [flag.format(f=folder / "f.npz") for flag in flags]
    assert main(["stats", f"--config={folder}/c.py", "--out=s.npz", *flags]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("drf: ") and err.count("\n") == 1 and problem in err
    assert not list(tmp_path.iterdir())


def test_a_command_of_two_words_needs_both(capsys):
    assert main(["features"]) == 2
    assert "unknown command 'features': choose one of train" in capsys.readouterr().err
