"""The teachers of the prepared data sets, on tiny data of the same kind."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import build
from drf_jax.configs import emoji64, fashion_mnist32, training_free
from drf_jax.data.captions import write_captions
from drf_jax.data.card import Card, write_card
from drf_jax.data.conditioning import condition
from drf_jax.data.prepare import prepare
from drf_jax.data.records import write_records
from drf_jax.denoiser import Denoiser
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.sampling.loops import COMPILED
from drf_jax.training.optimizer import make_optimizer

pytest.importorskip("tensorflow_datasets")


def write_idx(path, array):
    sizes = np.array(array.shape, ">u4").tobytes()
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes())


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Ten images of each data set; those of the emoji with embedded captions."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for prefix in ("train", "t10k"):
        write_idx(root / f"{prefix}-images-idx3-ubyte", rng.integers(0, 256, (10, 28, 28)))
        write_idx(root / f"{prefix}-labels-idx1-ubyte", np.arange(10))
    prepare("fashion_mnist_idx", root, idx_dir=str(root))

    examples = [
        {
            "image": rng.integers(0, 256, (64, 64, 3), np.uint8),
            "style": i % 4,
            "group": i % 2,
            "caption": f"number {i}",
        }
        for i in range(10)
    ]
    records = write_records(root, "emoji", "1.0.0", {"train": examples, "test": examples})
    card = Card(
        family="emoji",
        version="1.0.0",
        image_shape=(64, 64, 3),
        splits=records.splits,
        label="style",
        classes={"style": ["a", "b", "c", "d"], "group": ["e", "f"]},
        texts=("caption",),
    )
    write_card(records.folder, card)
    vectors = np.eye(384, dtype=np.float32)
    write_captions(records.folder, lambda texts: vectors[: len(texts)], {"package": "counting"})
    return str(root)


def made(module, arg, data_dir):
    config = module.get_config(arg)
    config.data.data_dir = data_dir
    data = build.source(config)
    return config, data, DenoisingNetwork(build.backbone(config, data))


def millions(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6


@pytest.mark.parametrize(
    "module, shape, classes, size",
    [(fashion_mnist32, (32, 32, 1), 10, 2.9), (emoji64, (64, 64, 3), 4, 6.9)],
)
@pytest.mark.parametrize("arg", ["", "bf16"])
def test_the_whole_config_fits_together(data_dir, module, shape, classes, size, arg):
    config, data, network = made(module, arg, data_dir)
    assert data.image_shape == shape and data.num_classes == classes
    params = jax.eval_shape(lambda: build.init_teacher(network, data, jax.random.key(0)))
    assert millions(params) == pytest.approx(size, abs=0.05)
    assert f"{size}M parameters" in module.__doc__

    objective, spec = build.denoising(config, network), build.train(config)
    make_optimizer(build.optimizer(config), spec.steps)
    batch = {"x0": jnp.zeros((8, *shape)), "cond": condition(data, {"label": np.zeros(8)})}
    losses, _ = jax.eval_shape(objective, params, None, batch, jax.random.key(0))
    assert losses.shape == (8,)
    denoiser = Denoiser(params, network, objective.process, objective.output)
    methods = build.methods(config, denoiser, data, COMPILED)
    assert sorted(m.name for m in methods) == sorted(training_free.methods())
    for method in methods:
        # A name ends with the calls, unless a tolerance decides them.
        assert method.name.endswith(f"-{method.sequential_calls}") or method.cost is not None
    assert len(build.split(config, "test")) == 10


@pytest.mark.parametrize("module", [fashion_mnist32, emoji64])
def test_smoke_is_small_and_of_the_same_form(data_dir, module):
    config, data, network = made(module, "smoke", data_dir)
    assert set(config) == set(module.get_config()) and data.image_shape[:2] == (32, 32)
    assert len(data) == 10  # and no more than 64 of a whole data set
    params = jax.eval_shape(lambda: build.init_teacher(network, data, jax.random.key(0)))
    assert millions(params) < 0.1
    spec = build.train(config)
    assert spec.steps <= 10 and spec.batch_size <= 8 and build.evaluate(config).samples <= 16
    make_optimizer(build.optimizer(config), spec.steps)


@pytest.mark.parametrize("module", [fashion_mnist32, emoji64])
def test_unknown_arguments_are_refused(module):
    with pytest.raises(ValueError, match=r"'fast': choose among bf16, .*smoke"):
        module.get_config("fast")


def test_emoji_may_be_conditioned_on_the_group(data_dir):
    config = emoji64.get_config()
    config.data.update(data_dir=data_dir, label="group")
    assert build.source(config).num_classes == 2


@pytest.mark.parametrize("arg", ["captions", "captions,smoke"])
def test_emoji_with_captions_have_one_map_more_and_otherwise_the_same_parameters(data_dir, arg):
    config, data, network = made(emoji64, arg, data_dir)
    assert data.caption_width == 384
    _, plain, without = made(emoji64, arg.removeprefix("captions").strip(","), data_dir)
    shapes, before = (
        jax.eval_shape(lambda net=net, of=of: build.init_teacher(net, of, jax.random.key(0)))
        for net, of in [(network, data), (without, plain)]
    )
    assert shapes["embed"].pop("caption")["kernel"].shape[0] == 384
    assert jax.tree.structure(shapes) == jax.tree.structure(before)

    stored = {
        key: np.stack([data[i][key] for i in range(8)]) for key in ("label", "caption_embedding")
    }
    cond = condition(data, stored)
    batch = {"x0": jnp.zeros((8, *data.image_shape)), "cond": cond}
    objective = build.denoising(config, network)
    assert objective.null.keys() == cond.keys() and objective.dropout == 0.1
    params = jax.eval_shape(lambda: build.init_teacher(network, data, jax.random.key(0)))
    losses, _ = jax.eval_shape(objective, params, None, batch, jax.random.key(0))
    assert losses.shape == (8,)
