import importlib.util
import io

import numpy as np
import pytest
from PIL import Image

from drf_jax.data import official, prepare
from drf_jax.data.official import OFFICIAL, Official, require_tensorflow, writer
from drf_jax.data.prepared import Prepared
from drf_jax.errors import UserError

tfds = pytest.importorskip("tensorflow_datasets")


class TinyOfficial(tfds.core.GeneratorBasedBuilder):
    """Registered with TFDS as "tiny_official": what an official builder looks like from outside."""

    VERSION = tfds.core.Version("1.4.0")
    LABEL = "label"

    def _info(self):
        labels = tfds.features.ClassLabel(names=["plane", "car"])
        image = tfds.features.Image(shape=(6, 4, 3), encoding_format="png")
        features = {"image": image, self.LABEL: labels, "id": np.int64}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(5), "test": self._generate_examples(2)}

    def _generate_examples(self, n):
        for i in range(n):
            file = io.BytesIO()
            Image.new("RGB", (4, 6), (i, 2 * i, 255)).save(file, "PNG")
            file.seek(0)
            yield i, {"image": file, self.LABEL: i % 2, "id": i}


class TinyUnlabelled(TinyOfficial):
    """Has an attribute instead of a label."""

    VERSION = tfds.core.Version("1.4.0")
    LABEL = "smiling"


@pytest.fixture
def tiny(monkeypatch):
    """Lets ``prepare`` and ``Prepared`` know one of the two as "tiny"."""
    monkeypatch.setattr(official, "require_tensorflow", lambda builder: None)

    def register(labelled, version="1.4.0"):
        builder = "tiny_official" if labelled else "tiny_unlabelled"
        some = Official(builder, version, labelled)
        recipe = prepare.Recipe(some.version, writer(some))
        monkeypatch.setitem(prepare.RECIPES, "tiny", recipe)

    return register


def test_the_builders_files_are_read_as_they_are(tmp_path, tiny):
    tiny(labelled=True)
    folder = prepare.prepare("tiny", tmp_path)
    assert folder == tmp_path / "tiny" / "1.4.0"
    source = Prepared("tiny", tmp_path)
    assert (source.name, source.image_shape, len(source)) == ("tiny_official6", (6, 4, 3), 5)
    assert source.card.classes == {"label": ["plane", "car"]}
    assert source.card.splits == {"train": 5, "test": 2}
    for i in range(5):
        red, green, blue = source[i]["image"][5, 3]
        assert (green, blue, source[i]["label"]) == (2 * red, 255, red % 2)
        assert source[i].keys() == {"image", "label"}
    assert sorted(source[i]["image"][0, 0, 0] for i in range(5)) == [0, 1, 2, 3, 4]


def test_a_set_without_labels_has_one_class(tmp_path, tiny):
    tiny(labelled=False)
    prepare.prepare("tiny", tmp_path)
    source = Prepared("tiny", tmp_path, size=4)
    assert source.num_classes == 1 and {source[i]["label"] for i in range(5)} == {0}
    assert source[0]["image"].shape == (4, 4, 3)


def test_a_failure_of_tfds_is_told_in_one_line(tmp_path, tiny):
    tiny(labelled=True, version="7.0.0")
    with pytest.raises(UserError, match=r"TFDS cannot build tiny_official:7.0.0"):
        prepare.prepare("tiny", tmp_path)
    assert list((tmp_path / "tiny").iterdir()) == []


def test_tensorflow_is_asked_for_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"cifar10 needs TensorFlow.*drf_jax\[tfds-official\]"):
        require_tensorflow("cifar10")


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_pinned_versions_are_those_of_tfds(name):
    builder_class = tfds.builder_cls(name.split("/")[0])
    known = {str(builder_class.VERSION)} if builder_class.VERSION else set()
    for config in builder_class.BUILDER_CONFIGS:
        if config.version is not None:
            known.add(str(config.version))
    assert OFFICIAL[name].version in known
