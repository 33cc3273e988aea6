"""The KL autoencoder against diffusers' AutoencoderKL, and what its weights reader refuses."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation.weights_file import read_weights
from drf_jax.networks.autoencoder import Autoencoder, Decoder, Encoder
from drf_jax.networks.autoencoder_weights import autoencoder_params, autoencoder_shapes

FOLDER = Path(__file__).parents[1] / "golden"
NET = Autoencoder(widths=(32, 64), blocks=1)


@pytest.fixture(scope="module")
def golden():
    return np.load(FOLDER / "sd_vae.npz")


@pytest.fixture(scope="module")
def tensors():
    return read_weights(FOLDER / "sd_vae.safetensors")


@pytest.fixture(scope="module")
def params(tensors):
    return autoencoder_params(NET, tensors)


def nhwc(x):
    return jnp.asarray(x.transpose(0, 2, 3, 1))


def agree(ours, theirs, tolerance):
    assert np.max(np.abs(ours - theirs)) <= tolerance * np.max(np.abs(theirs))


def apply(network, params, x):
    return jax.jit(lambda p, x: network.apply({"params": p}, x))(params, x)


def test_encoder_and_decoder_match_diffusers(golden, params):
    with jax.default_matmul_precision("float32"):
        moments = apply(Encoder(NET), params["encoder"], nhwc(golden["image"]))
        image = apply(Decoder(NET), params["decoder"], nhwc(golden["z"]))
    agree(moments, nhwc(golden["moments64"]), 2e-5)
    agree(image, nhwc(golden["decoded64"]), 2e-5)


def test_in_float64_but_for_the_attention_s_float32_softmax(golden, tensors):
    with jax.enable_x64(True):
        net = Autoencoder(widths=(32, 64), blocks=1, dtype="float64")
        params = autoencoder_params(net, tensors)
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        moments = apply(Encoder(net), params["encoder"], nhwc(golden["image"].astype(float)))
        image = apply(Decoder(net), params["decoder"], nhwc(golden["z"].astype(float)))
        agree(moments, nhwc(golden["moments64"]), 1e-7)
        agree(image, nhwc(golden["decoded64"]), 1e-7)


def test_bfloat16_keeps_the_image(golden, params):
    net = Autoencoder(widths=(32, 64), blocks=1, dtype="bfloat16")
    image = apply(Decoder(net), params["decoder"], nhwc(golden["z"]))
    assert image.dtype == jnp.float32
    agree(image, nhwc(golden["decoded64"]), 0.03)


def test_the_defaults_are_stable_diffusion_s():
    """Parameter counts of the published model: 34,163,592 + 72 and 49,490,179 + 20."""
    shapes = autoencoder_shapes(Autoencoder())
    count = {
        name: sum(leaf.size for leaf in jax.tree.leaves(tree)) for name, tree in shapes.items()
    }
    assert count == {"encoder": 34_163_664, "decoder": 49_490_199}
    assert Autoencoder().factor == 8


def test_former_names_and_1x1_attention_are_read(tensors, params):
    former = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def rename(name):
        for now, then in former.items():
            name = name.replace(f"attentions.0.{now}.", f"attentions.0.{then}.")
        return name

    as_conv = lambda name, x: x[:, :, None, None] if "to_" in name and x.ndim == 2 else x
    old = {rename(name): as_conv(name, x) for name, x in tensors.items()}
    assert old.keys() != tensors.keys()
    jax.tree.map(np.testing.assert_array_equal, autoencoder_params(NET, old), params)


def test_weights_of_another_architecture_are_refused(tensors):
    lacking = {k: v for k, v in tensors.items() if k != "encoder.mid_block.resnets.1.norm1.weight"}
    with pytest.raises(UserError, match=r"needs the tensor 'encoder\.mid_block\.resnets\.1\.norm1"):
        autoencoder_params(NET, lacking)
    with pytest.raises(UserError, match=r"no tensor 'encoder\.conv_extra\.bias'"):
        autoencoder_params(NET, tensors | {"encoder.conv_extra.bias": np.zeros(3)})
    with pytest.raises(
        UserError, match=r"'encoder\.conv_out\.bias' has the shape \(8,\); .* \(16,\)"
    ):
        autoencoder_params(Autoencoder(latent_channels=8, widths=(32, 64), blocks=1), tensors)
    with pytest.raises(UserError, match=r"needs the tensor 'encoder\.down_blocks\.0\.resnets\.1"):
        autoencoder_params(Autoencoder(widths=(32, 64)), tensors)


def test_images_and_descriptions_that_do_not_fit():
    with pytest.raises(UserError, match="multiple of groups=32"):
        Autoencoder(widths=(32, 48))
    with pytest.raises(UserError, match=r"image of 9x8x3: .* multiples of 2"):
        jax.eval_shape(Encoder(NET).init, jax.random.key(0), jnp.zeros((1, 9, 8, 3)))
    with pytest.raises(UserError, match="latent of 3 channels: the autoencoder has 4"):
        jax.eval_shape(Decoder(NET).init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
