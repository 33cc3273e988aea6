import numpy as np
import pytest

from drf_jax.data.captions import FOLDER, embed_texts, write_captions
from drf_jax.data.card import Card, read_card, write_card
from drf_jax.data.conditioning import condition_of
from drf_jax.data.pipeline import batches
from drf_jax.data.records import write_records
from drf_jax.data.source import load_source
from drf_jax.errors import UserError

CAPTIONS = ["cat; animal, pet", "dog; animal", "", "cat", "fish; animal, water", "dog; animal"]
ENCODER = {"package": "letters", "version": "1"}


def letters(texts):
    """The shares of a, b, …, h among a text's letters, as a vector of length 1."""
    counts = np.array([[1 + text.count(c) for c in "abcdefgh"] for text in texts], np.float32)
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def prepared(root, captions=CAPTIONS):
    """A data set of 4x4 images with these captions in both splits; its folder."""
    examples = [
        {"image": np.full((4, 4, 3), i, np.uint8), "label": i % 2, "caption": caption}
        for i, caption in enumerate(captions)
    ]
    records = write_records(
        root, "image_folder", "1.0.0", {"train": examples, "test": examples[1:]}
    )
    card = Card(
        family="toys",
        version="1.0.0",
        image_shape=(4, 4, 3),
        splits=records.splits,
        label="label",
        classes={"label": ["even", "odd"]},
        texts=("caption",),
        sha256=records.sha256,
    )
    write_card(records.folder, card)
    return records.folder


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    return prepared(tmp_path)


def toys(root, **options):
    return load_source("image_folder", data_dir=root, captions=True, **options)


def test_a_vector_is_between_the_name_and_the_whole_caption():
    asked = []
    vectors = embed_texts(CAPTIONS, lambda texts: asked.extend(texts) or letters(texts))
    name, whole = letters(["cat", "cat; animal, pet"])
    np.testing.assert_allclose(vectors[0] @ name, vectors[0] @ whole, rtol=1e-6)
    assert vectors[0] @ name > name @ whole
    np.testing.assert_allclose(vectors[3], name, rtol=1e-6)  # no keywords
    np.testing.assert_array_equal(vectors[1], vectors[5])
    assert len(asked) == len(set(asked))
    lengths = np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(lengths, [1, 1, 0, 1, 1, 1], rtol=1e-6)  # no words: the empty one


def test_examples_get_the_vector_of_their_caption(folder, tmp_path):
    write_captions(folder, letters, ENCODER)
    for split, captions in [("train", CAPTIONS), ("test", CAPTIONS[1:])]:
        source = toys(tmp_path, split=split)
        assert (len(source), source.caption_width) == (len(captions), 8)
        stored = np.stack([source[i]["caption_embedding"] for i in range(len(source))])
        np.testing.assert_array_equal(stored, embed_texts(captions, letters))
        assert source[0]["caption"] == captions[0]
    assert load_source("image_folder", data_dir=tmp_path).caption_width == 0


def test_batches_and_conditioning_carry_captions(folder, tmp_path):
    write_captions(folder, letters, ENCODER)
    source, vectors = toys(tmp_path, limit=4), embed_texts(CAPTIONS, letters)
    batch = batches(source, 4, seed=0)(0)
    order = np.round((batch["image"][:, 0, 0, 0] + 1) * 127.5).astype(int)
    np.testing.assert_array_equal(batch["caption_embedding"], vectors[order])
    cond = condition_of(source, np.array([3, 4, 5]))
    np.testing.assert_array_equal(cond["caption"], vectors[[3, 0, 1]])
    np.testing.assert_array_equal(cond["label"], [1, 0, 1])


def test_embedding_twice_does_nothing_and_another_encoder_is_refused(folder):
    write_captions(folder, letters, ENCODER)
    assert write_captions(folder, lambda texts: pytest.fail("done already"), ENCODER).is_dir()
    with pytest.raises(UserError, match=r"embedded by .*'version': '1'.*, not .*'version': '2'"):
        write_captions(folder, letters, {**ENCODER, "version": "2"})


def test_a_killed_embedding_leaves_nothing_that_looks_whole(folder, tmp_path):
    def dies(texts):
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_captions(folder, dies, ENCODER)
    command = f"drf data embed image_folder --data_dir {tmp_path}"
    with pytest.raises(UserError, match=f"not embedded yet; run: {command}$"):
        toys(tmp_path)
    write_captions(folder, letters, ENCODER)
    assert toys(tmp_path).caption_width == 8


def test_captions_of_other_images_are_refused(folder, tmp_path):
    write_captions(folder, letters, ENCODER)
    card = folder / "card.json"
    card.write_text(card.read_text().replace(read_card(folder).sha256["test"], "0" * 64))
    with pytest.raises(UserError, match="embedded for other images"):
        toys(tmp_path)


@pytest.mark.parametrize("name", ["train.npy", "card.json"])
def test_a_cut_file_is_named(folder, tmp_path, name):
    file = write_captions(folder, letters, ENCODER) / name
    file.write_bytes(file.read_bytes()[:70])
    with pytest.raises(UserError, match=f"{file} cannot be read .*; remove {folder / FOLDER}"):
        toys(tmp_path)


def test_data_without_captions_are_refused(folder, tmp_path):
    card = folder / "card.json"
    text = card.read_text()
    start = text.index('"texts"')
    card.write_text(text[:start] + '"texts": []' + text[text.index("]", start) + 1 :])
    with pytest.raises(UserError, match="the images have no captions"):
        toys(tmp_path)
    with pytest.raises(UserError, match="the images have no captions"):
        write_captions(folder, letters, ENCODER)
