import jax
import pytest

from drf_jax import build
from drf_jax.configs import imagenet512_dit_xl2
from drf_jax.data.pipeline import batches
from drf_jax.denoiser import Denoiser
from drf_jax.errors import UserError
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.sampling.loops import COMPILED
from drf_jax.training.optimizer import make_optimizer


@pytest.mark.parametrize("arg, millions", [("", 675), ("smoke", 0.2445)])
def test_it_fits_together_and_has_the_stated_size(arg, millions):
    config = imagenet512_dit_xl2.get_config(arg)
    assert build.task(config) == "teacher"
    data = build.source(config)
    network = DenoisingNetwork(build.backbone(config, data))
    params = jax.eval_shape(lambda: build.init_teacher(network, data, jax.random.key(0)))
    size = sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6
    assert size == pytest.approx(millions, rel=0.01)
    make_optimizer(build.optimizer(config), build.train(config).steps)
    denoiser = Denoiser(params, network, build.process(config), build.output(config))
    methods = build.methods(config, denoiser, data, COMPILED)
    calls = {method.name: method.sequential_calls for method in methods}
    assert all(name.endswith(f"-{count}") for name, count in calls.items())


def test_it_cannot_be_trained_without_images():
    with pytest.raises(UserError, match="serves drf plan only"):
        batches(build.source(imagenet512_dit_xl2.get_config()), 8, 0)


def test_unknown_arguments_are_refused():
    with pytest.raises(ValueError, match="'fast': choose smoke"):
        imagenet512_dit_xl2.get_config("fast")
