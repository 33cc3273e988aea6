import hashlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation.digest import params_digest
from drf_jax.evaluation.extractor import EXTRACTORS, load_extractor
from drf_jax.evaluation.inception import Inception, _forward, load_inception
from drf_jax.networks.inception import InceptionV3

pytestmark = pytest.mark.slow

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "inception.npz")
IMAGES = GOLDEN["u8_32"]


@pytest.fixture(scope="module")
def extractor():
    tree = jax.eval_shape(InceptionV3().init, jax.random.key(0), jnp.zeros((1, 299, 299, 3)))
    rng = np.random.default_rng(0)

    def draw(leaf):
        z = rng.standard_normal(leaf.shape, np.float32)
        return jnp.asarray(z * np.sqrt(2 / np.prod(leaf.shape[:-1])))

    params = jax.tree.map(draw, tree["params"])
    return Inception(params=params, resize="tf1", weights_sha256="", provenance={})


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    """Weights of the right shapes: every unit passes on a mean of its inputs."""
    path = tmp_path_factory.mktemp("weights") / "weights.npz"
    tensors = {}
    for name, shape in zip(GOLDEN["names"], GOLDEN["shapes"], strict=True):
        shape = tuple(json.loads(str(shape)))
        value = 1 / np.prod(shape[1:]) if len(shape) == 4 else "var" in str(name)
        tensors[str(name)] = np.full(shape, value, np.float16)
    np.savez(path, **tensors)
    return path


def test_features_do_not_depend_on_the_batch(extractor):
    images = IMAGES[:3]
    ours = extractor.extract(images, batch_size=2)
    assert ours.shape == (3, 2048) and ours.dtype == np.float32
    other_way = extractor.extract(images[::-1], batch_size=2)[::-1]
    np.testing.assert_allclose(ours, other_way, atol=1e-4 * ours.max())
    assert np.abs(ours[0] - ours[1]).max() > 1e-3 * ours.max()


@pytest.mark.parametrize(("precision", "wanted"), [("float32", "HIGHEST"), ("tf32", "HIGH")])
def test_convolutions_run_in_the_precision_asked_for(extractor, precision, wanted):
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.uint8)
    program = _forward.lower(extractor.params, images, "pytorch-fid", precision).as_text()
    convolutions = [line for line in program.splitlines() if "stablehlo.convolution(" in line]
    assert len(convolutions) == 94
    assert all(f"[#stablehlo<precision {wanted}>, " in line for line in convolutions)


def test_tf32_is_another_feature_space(weights_file):
    plain = load_extractor("inception-clean-fid", weights_file)
    tf32 = load_extractor("inception-clean-fid-tf32", weights_file)
    assert plain.feature_space == "inception-clean-fid"
    assert tf32.feature_space == "inception-clean-fid-tf32"
    with pytest.raises(UserError, match=r"precision 'bf16' is unknown; known: float32, tf32"):
        load_inception(weights_file, precision="bf16")


def test_grey_images_are_colour_images(extractor):
    grey = IMAGES[:1, :, :, :1]
    colour = extractor.extract(grey.repeat(3, -1), batch_size=2)
    np.testing.assert_allclose(extractor.extract(grey, batch_size=2), colour, rtol=1e-6)


def test_no_images_give_no_features_and_two_channels_are_refused(extractor):
    assert extractor.extract(IMAGES[:0]).shape == (0, 2048)
    with pytest.raises(UserError, match="2 channels; the feature network takes 1 or 3"):
        extractor.extract(IMAGES[..., :2])


def test_the_loaded_extractor_says_what_it_is(weights_file):
    loaded = load_extractor("inception-clean-fid", weights_file)
    assert loaded.feature_space == "inception-clean-fid" and loaded.resize == "clean-fid"
    assert loaded.weights_sha256 == params_digest(loaded.params)
    assert loaded.provenance["file"] == "weights.npz"
    whole = hashlib.sha256(weights_file.read_bytes()).hexdigest()
    assert loaded.provenance["file_sha256"] == whole
    kernel = loaded.params["Mixed_6c"]["branch7x7_1"]["kernel"]
    assert kernel.shape == (1, 1, 768, 160) and kernel.dtype == np.float32


def test_the_announced_hash_is_held_to(weights_file, tmp_path):
    digest = hashlib.sha256(weights_file.read_bytes()).hexdigest()
    right, wrong = (tmp_path / f"pt-{start}.npz" for start in (digest[:8], "0123abcd"))
    right.symlink_to(weights_file)
    wrong.symlink_to(weights_file)
    assert load_inception(right).provenance["file"] == right.name
    with pytest.raises(UserError, match=f"pt-0123abcd.npz has the SHA-256 {digest[:8]}"):
        load_inception(wrong)


def test_unknown_names_and_other_weights_are_refused(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, a=np.zeros(3))
    with pytest.raises(UserError, match="resize 'nearest' is unknown; known: pytorch-fid"):
        load_inception(path, "nearest")
    with pytest.raises(UserError, match="space 'inception' is unknown; known: classifier-64"):
        load_extractor("inception", path)
    with pytest.raises(UserError, match=r"w\.npz holds other weights: .*Conv2d_1a_3x3"):
        load_inception(path)
    for space in EXTRACTORS.keys() - {"random-inception"}:
        with pytest.raises(UserError, match=r"none\.npz does not exist"):
            load_extractor(space, tmp_path / "none.npz")


def test_the_digest_sees_names_shapes_and_numbers():
    params = {"a": {"kernel": np.zeros((2, 3), np.float32)}, "b": np.ones(2, np.float32)}
    same = {"b": jnp.ones(2), "a": {"kernel": jnp.zeros((2, 3))}}
    assert params_digest(params) == params_digest(same)
    for other in (
        params | {"b": np.array([1, 2], np.float32)},
        params | {"a": {"kernel": np.zeros((3, 2), np.float32)}},
        {"a": params["a"], "c": params["b"]},
    ):
        assert params_digest(other) != params_digest(params)
