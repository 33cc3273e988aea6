"""CIFAR-10's teachers, and those of EDM and PFGM++, without their data."""

import jax
import jax.numpy as jnp
import pytest

from drf_jax import build
from drf_jax.configs import (
    cifar10,
    cifar10_edm,
    cifar10_pfgmpp,
    digits_edm,
    digits_pfgmpp,
    fashion_mnist32_pfgmpp,
)
from drf_jax.denoiser import Denoiser
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.sampling.edm import EDM, churn_gamma
from drf_jax.sampling.grid import karras
from drf_jax.sampling.loops import COMPILED
from drf_jax.training.optimizer import make_optimizer

CIFAR = [cifar10, cifar10_edm, cifar10_pfgmpp]
DIGITS = [digits_edm, digits_pfgmpp]
ALL = [*CIFAR, *DIGITS, fashion_mnist32_pfgmpp]


class Shapes:
    """A source of which only the facts are asked."""

    name, num_classes, classes, caption_width = "shapes", 10, (), 0

    def __init__(self, *image_shape):
        self.image_shape = image_shape

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise AssertionError("no image is read")


def check(config, data):
    """Build all that the config describes; the number of parameters."""
    assert build.task(config) == "teacher"
    network = DenoisingNetwork(build.backbone(config, data))
    params = jax.eval_shape(lambda: build.init_teacher(network, data, jax.random.key(0)))
    objective, spec = build.denoising(config, network), build.train(config)
    make_optimizer(build.optimizer(config), spec.steps)
    batch = {
        "x0": jnp.zeros((2, *data.image_shape)),
        "cond": {"label": jnp.zeros(2, jnp.int32)},
    }
    losses, _ = jax.eval_shape(objective, params, None, batch, jax.random.key(0))
    assert losses.shape == (2,)
    denoiser = Denoiser(params, network, objective.process, objective.output)
    build.method("own", config.sampler, denoiser, data, COMPILED, "config.sampler")
    for method in build.methods(config, denoiser, data, COMPILED):
        assert method.name.endswith(f"-{method.sequential_calls}") or method.cost is not None
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("module", CIFAR)
@pytest.mark.parametrize("arg", ["", "bf16"])
def test_cifar10_fits_together_and_says_its_target(module, arg):
    config = module.get_config(arg)
    millions = check(config, Shapes(32, 32, 3)) / 1e6
    assert module is cifar10_pfgmpp or f"{millions:.1f}M parameters" in module.__doc__
    assert "Not yet run." in module.__doc__ and "Target: FID" in module.__doc__
    assert build.evaluate(config).samples == 50_000


@pytest.mark.parametrize("module", [*DIGITS, fashion_mnist32_pfgmpp])
def test_edm_and_pfgmpp_fit_together(module):
    config = module.get_config()
    side = 8 if module in DIGITS else 32
    check(config, Shapes(side, side, 1))
    assert config.output == config.objective.weighting == "edm"


@pytest.mark.parametrize("module", ALL)
def test_smoke_is_small_and_of_the_same_form(module):
    config = module.get_config("smoke")
    assert set(config) == set(module.get_config())
    if module is fashion_mnist32_pfgmpp:
        data = Shapes(32, 32, 1)
    else:
        data = build.source(config)  # the embedded digits
        assert data.name == "digits"
    assert check(config, data) < 300_000
    assert build.train(config).steps <= 20 and build.evaluate(config).samples <= 64


def test_the_churned_smoke_row_is_churned():
    config = digits_edm.get_config("smoke")
    process, section = build.process(config), config.evaluate.methods["heun-churn-5"]
    step = EDM(churn_gamma(section.s_churn, section.steps))
    levels = jnp.asarray(
        karras(process, section.steps)[:-2]
    )  # the last interval has a step of its own
    assert jnp.any(step.raised(process, levels) > 1.1 * levels)


@pytest.mark.parametrize("module", ALL)
def test_unknown_arguments_are_refused(module):
    with pytest.raises(ValueError, match=r"'fast': choose .*smoke"):
        module.get_config("fast")
