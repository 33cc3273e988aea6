import json
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation.resize import clean_fid, pytorch_fid, tf1
from drf_jax.networks.inception import InceptionV3, inception_params

pytestmark = pytest.mark.slow  # a minute of compiling, for networks that never change
GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "inception.npz")
SHAPES = {
    str(name): tuple(json.loads(str(shape)))
    for name, shape in zip(GOLDEN["names"], GOLDEN["shapes"], strict=True)
}
BLOCKS = {
    "max_pool1": "block0_spatial_mean",
    "max_pool2": "block1_spatial_mean",
    "mixed_6e": "block2_spatial_mean",
    "pool3": "pool3",
}


def generator(name):
    return np.random.Generator(np.random.Philox(key=zlib.crc32(name.encode())))


def recipe(name, gain):
    """The golden file's weights: made from the tensor's name."""
    shape = SHAPES[name]
    z = generator(name).standard_normal(shape)
    if name.endswith(("conv.weight", "fc.weight")):
        return (z * np.sqrt(gain / np.prod(shape[1:]))).astype(np.float32)
    if name.endswith("running_var"):
        return (1 + 0.1 * np.abs(z)).astype(np.float32)
    return ((1 if name.endswith("bn.weight") else 0) + 0.1 * z).astype(np.float32)


@pytest.fixture(scope="module", params=["g1", "g2"])
def weights(request):
    tensors = {name: recipe(name, int(request.param[1])) for name in SHAPES}
    sums = [tensor.sum(dtype=np.float64) for tensor in tensors.values()]
    np.testing.assert_allclose(sums, GOLDEN[f"{request.param}/weight_sum64"], atol=1e-6)
    return request.param, jax.device_put(inception_params(tensors))


@pytest.fixture(scope="module")
def features(weights):
    group, params = weights
    forward = jax.jit(lambda image: InceptionV3().apply({"params": params}, image))
    # Pairs, so that one shape is compiled.
    pairs = lambda image: jax.tree.map(
        lambda *parts: jnp.concatenate(parts), *(forward(image[i : i + 2]) for i in (0, 2))
    )
    return group, forward, pairs


@pytest.fixture(scope="module")
def large():
    small = generator("inception-u8-299").integers(0, 256, (2, 38, 38, 3), dtype=np.uint8)
    images = small.repeat(8, 1).repeat(8, 2)[:, :299, :299]
    assert images.sum() == GOLDEN["u8_299_sum"]
    return jnp.asarray(images)


def agree(ours, theirs):
    assert np.abs(ours - theirs).max() <= 2e-5 * np.abs(theirs).max()


def test_features_and_inner_layers_match_pytorch_fid(features, large):
    group, forward, pairs = features
    for size, out in (
        (299, forward(pytorch_fid(large))),
        (32, pairs(pytorch_fid(jnp.asarray(GOLDEN["u8_32"])))),
    ):
        for layer, name in BLOCKS.items():
            agree(getattr(out, layer), GOLDEN[f"{group}/{name}_{size}"])
    agree(out.pool3, GOLDEN[f"{group}/pool3_32_f64"])


def test_features_match_clean_fid(features):
    group, _, pairs = features
    agree(pairs(clean_fid(jnp.asarray(GOLDEN["u8_32"]))).pool3, GOLDEN[f"{group}/pool3_32_clean"])


def test_images_of_another_size_go_through_as_they_are(features, large):
    """Pools without padding zeros, at sizes where the edges weigh more."""
    group, forward, _ = features
    out = forward(2 * (large[:, :139, :171].astype(jnp.float32) / 255) - 1)
    agree(out.pool3, GOLDEN[f"{group}/pool3_299_no_resize_first"])


def test_features_match_torch_fidelity(features, large):
    group, forward, pairs = features
    if group == "g1":
        pytest.skip("the golden file has these for g2 only")
    agree(forward(tf1(large)).pool3, GOLDEN["g2/torch_fidelity_2048_299"])
    agree(pairs(tf1(jnp.asarray(GOLDEN["u8_32"]))).pool3, GOLDEN["g2/torch_fidelity_2048_32"])


def test_weights_of_another_network_are_refused():
    tensors = {name: np.broadcast_to(np.float32(1), shape) for name, shape in SHAPES.items()}
    whole = inception_params(tensors)
    assert "fc" not in whole
    missing = {k: v for k, v in tensors.items() if k != "Mixed_6c.branch7x7_2.conv.weight"}
    with pytest.raises(UserError, match=r"needs the tensor 'Mixed_6c\.branch7x7_2\.conv\.weight'"):
        inception_params(missing)
    # torchvision's Inception has the same convolutions and 1000 classes.
    with pytest.raises(UserError, match=r"'fc\.weight' has the shape \(1000, 2048\); .*1008"):
        inception_params(tensors | {"fc.weight": np.zeros((1000, 2048), np.float32)})
    with pytest.raises(UserError, match=r"no tensor 'AuxLogits\.fc\.bias'"):
        inception_params(tensors | {"AuxLogits.fc.bias": np.zeros(1000, np.float32)})
    inception_params({k: v for k, v in tensors.items() if not k.startswith("fc.")})
    inception_params(tensors | {"Conv2d_1a_3x3.bn.num_batches_tracked": np.zeros((), int)})
