import json
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.text import minilm
from drf_jax.text.minilm import PACKAGE, load_minilm, pad

GOLDEN = Path(__file__).parents[1] / "golden" / "minilm.npz"


@pytest.fixture(scope="module")
def encoder():
    for package in (PACKAGE, "tokenizers", "safetensors"):
        try:
            metadata.distribution(package)
        except metadata.PackageNotFoundError:
            pytest.skip(f"the sentence encoder needs {package}: {minilm.INSTALL}")
    return load_minilm()


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return {**arrays, "sentences": json.loads(str(arrays["meta"]))["sentences"]}


def test_tokens_are_those_of_the_published_tokenizer(encoder, golden):
    tokens = encoder.tokens(golden["sentences"])
    assert [len(row) for row in tokens] == golden["mask_len"].tolist()
    for row, expected in zip(tokens, golden["input_ids"], strict=False):  # one is too long for it
        np.testing.assert_array_equal(row, expected[: len(row)])


def test_vectors_are_those_of_the_published_network(encoder, golden):
    vectors = encoder.embed(golden["sentences"])
    np.testing.assert_allclose(vectors, golden["embedding"], atol=1e-5)


def test_batches_change_nothing(encoder, golden):
    texts = [*golden["sentences"][:7], "a red heart"]
    whole = encoder.embed(texts)
    np.testing.assert_allclose(encoder.embed(texts, batch_size=3), whole, atol=1e-6)
    np.testing.assert_allclose(encoder.embed(texts[-1:])[0], whole[-1], atol=1e-6)
    assert encoder.embed([]).shape == (0, 384)


def test_alike_meanings_have_alike_vectors(encoder):
    heart, love, fish = encoder.embed(["red heart", "a symbol of love", "a fish in water"])
    assert heart @ love > heart @ fish + 0.1


def test_provenance_names_the_weights(encoder):
    assert encoder.provenance["version"] == metadata.version(PACKAGE)
    assert len(encoder.provenance["weights_sha256"]) == 64


def test_sentences_are_padded_to_a_multiple_and_the_batch_is_filled_up():
    ids, mask = pad([[5, 6, 7], list(range(1, 18))], 3)
    assert ids.shape == mask.shape == (3, 32)
    assert mask.sum(1).tolist() == [3, 17, 17] and not ids[~mask].any()
    np.testing.assert_array_equal(ids[0, :3], [5, 6, 7])
    np.testing.assert_array_equal(ids[1], ids[2])


def test_without_the_package_the_message_says_how_to_get_it(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(UserError, match=f"--no-deps {PACKAGE}") as error:
        load_minilm.__wrapped__()
    assert "drf_jax[text]" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "names, problem",
    [
        (["model.safetensors"], r"no file tokenizer\.json"),
        (["model.safetensors", "tokenizer.json"], "is damaged"),
    ],
)
def test_a_damaged_package_is_named(monkeypatch, tmp_path, names, problem):
    pytest.importorskip("tokenizers")
    pytest.importorskip("safetensors")
    info = tmp_path / "package.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 9.9\n")
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in names))
    for name in names:
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setattr(metadata, "distribution", lambda name: metadata.Distribution.at(info))
    with pytest.raises(UserError, match=f"{PACKAGE} 9.9 .*{problem}"):
        load_minilm.__wrapped__()
