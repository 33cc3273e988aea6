"""From captions to a prompted picture: embed, train, distil, sample; tiny images, networks and encoder."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from drf_jax.cli import data as cli_data
from drf_jax.cli.main import main
from drf_jax.data.digits import Digits
from drf_jax.data.prepare import prepare
from drf_jax.errors import UserError
from drf_jax.runs import sample as runs_sample
from drf_jax.runs.sample import wanted

pytestmark = pytest.mark.slow

CONFIG = """
from drf_jax.configs import digits, digits_learned

def get_config(arg):
    if arg == "student":
        config = digits_learned.get_config("calls=4,smoke")
        config.teacher = "{root}/teacher"
        config.method.update(teacher_steps=2, rounds=1, drafts=1, trajectories=8, trajectory_batch=8)
        config.method.update(on_policy_after=2)
        config.optimizer.update(learning_rate=0.1, warmup=0)
        config.train.update(steps=2, checkpoint_every=2)
        return config
    config = digits.get_config("smoke")
    config.data = {{"name": "image_folder", "data_dir": "{root}/data", "captions": True}}
    config.network.update(width=16, depth=1, heads=2)
    config.optimizer.update(learning_rate=0.1, warmup=0)
    config.train.update(steps=4, checkpoint_every=4, batch_size=4, ema=0.0)
    config.sampler.steps = 2
    config.evaluate.methods = {{}}
    return config
"""


def letters(texts):
    """The shares of a, b, …, h among a text's letters, as a vector of length 1."""
    counts = np.array([[1 + text.count(c) for c in "abcdefgh"] for text in texts], np.float32)
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory, quick_compile):
    """``data`` with embedded captions, a ``teacher`` and its ``student``."""
    pytest.importorskip("tensorflow_datasets")
    root = tmp_path_factory.mktemp("prompt")
    for i, image in enumerate(np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)):
        path = root / "pictures" / ("red", "blue")[i % 2] / f"{i}.png"
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(image).save(path)
        path.with_suffix(".txt").write_text("abc"[i % 3] * 5)
    prepare("image_folder", root / "data", images=str(root / "pictures"), size=8)
    (root / "config.py").write_text(CONFIG.format(root=root))
    encoder = SimpleNamespace(embed=letters, provenance={"package": "letters"})
    with pytest.MonkeyPatch.context() as patch, quick_compile():
        for module in (cli_data, runs_sample):
            patch.setattr(module, "load_minilm", lambda: encoder)
        data_dir = f"--data_dir={root / 'data'}"
        assert main(["data", "embed", "image_folder", data_dir]) == 0
        for run in ("teacher", "student"):
            assert main(["train", *words(root, run)]) == 0
        yield root


def words(root, run):
    return ["--config", f"{root / 'config.py'}:{run}", "--workdir", str(root / run)]


@pytest.fixture
def draw(root, tmp_path):
    """``draw(run, *flags)``: the picture of four samples."""

    def draw(run, *flags):
        out = tmp_path / "out.png"
        assert main(["sample", *words(root, run), "--count=4", f"--out={out}", *flags]) == 0
        return np.asarray(Image.open(out)).astype(int)

    return draw


def test_embedding_is_beside_the_data_and_says_who_made_it(root):
    folder = root / "data" / "image_folder" / "1.0.0" / "captions"
    assert json.loads((folder / "card.json").read_text())["encoder"] == {"package": "letters"}
    assert np.load(folder / "train.npy").shape[1] == 8


@pytest.mark.parametrize("run", ["teacher", "student"])
def test_prompt_and_style_decide_the_picture(draw, run):
    a = draw(run, "--prompt", "aaaa", "--style", "red")
    np.testing.assert_array_equal(draw(run, "--prompt=aaaa", "--style=red"), a)
    assert (draw(run, "--prompt=hhhh", "--style=red") != a).any()
    assert (draw(run, "--prompt=aaaa", "--style=blue") != a).any()


def test_a_packed_student_takes_prompts_too(root, tmp_path):
    model, pictures = tmp_path / "model", []
    assert main(["pack", "--workdir", str(root / "student"), "--out", str(model)]) == 0
    for prompt in ("--prompt=aaaa", "--prompt=hhhh"):
        out = tmp_path / "out.png"
        words = ["sample", f"--model={model}", "--count=4", f"--out={out}", "--style=red", prompt]
        assert main(words) == 0
        pictures.append(np.asarray(Image.open(out)))
    assert (pictures[0] != pictures[1]).any()


def test_guidance_weight_zero_forgets_the_prompt_and_one_is_the_default(draw):
    empty = [draw("teacher", f"--prompt={prompt}", "--guidance=0") for prompt in ("aaaa", "hhhh")]
    np.testing.assert_array_equal(*empty)
    plain = draw("teacher", "--prompt=aaaa")
    np.testing.assert_array_equal(draw("teacher", "--prompt=aaaa", "--guidance=1"), plain)
    assert (draw("teacher", "--prompt=aaaa", "--guidance=3") != plain).any()


@pytest.mark.parametrize(
    "run, flag, problem",
    [
        ("teacher", "--style=green", "no class 'green'; known: blue, red"),
        ("teacher", "--guidance=-1", "guidance"),
        ("student", "--guidance=2", "was not trained to take a weight"),
    ],
)
def test_mistakes_are_one_line(root, capsys, run, flag, problem):
    assert main(["sample", *words(root, run), flag]) == 2
    err = capsys.readouterr().err
    assert err.startswith("drf: ") and err.count("\n") == 1 and problem in err


def test_a_prompt_needs_a_run_with_captions():
    with pytest.raises(UserError, match=r"--prompt: .* without captions; .*data\.captions = True"):
        wanted(Digits(), "a heart", None)
    assert wanted(Digits(), None, "7") == {"label": 7}
