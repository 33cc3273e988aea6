"""The configs of distilled students are read whole, and their smoke is small."""

import pytest

from drf_jax import build
from drf_jax.configs import (
    cifar10_distilled,
    digits_distilled,
    emoji64_distilled,
    fashion_mnist32_distilled,
)
from drf_jax.configs.distilled import MULTIPLE, ROUNDS
from drf_jax.training.optimizer import make_optimizer

CONFIGS = (cifar10_distilled, digits_distilled, emoji64_distilled, fashion_mnist32_distilled)


@pytest.mark.parametrize("module", CONFIGS)
@pytest.mark.parametrize("method", list(build.METHODS))
@pytest.mark.parametrize("smoke", ["", ",smoke"])
def test_every_method_has_a_config(module, method, smoke):
    config = module.get_config(f"method={method}{smoke}")
    assert build.task(config) == "distill" and f"``{method}" in module.__doc__
    spec, train = build.distillation_spec(config), build.train(config)
    assert type(spec) is build.METHODS[method]
    make_optimizer(build.optimizer(config), train.steps)
    build.evaluate(config)
    assert (train.steps < 10) == bool(smoke)
    if method == "adversarial":
        assert config.optimizer.b1 == 0


@pytest.mark.parametrize("module", CONFIGS)
def test_arguments(module):
    assert module.get_config("method=step,calls=8").method.steps == 8
    assert module.get_config().method.name == "step"
    assert module.get_config("method=draft_refine,calls=8").method.rounds == 4
    assert module.get_config("method=draft_refine_aggressive,calls=8").method.rounds == 7
    for wrong in ("method=stp", "fast", "method=lcm,calls=2", "smoke=yes"):
        with pytest.raises(
            ValueError, match="choose method=NAME of draft_refine, draft_refine_agg"
        ):
            module.get_config(wrong)
    with pytest.raises(ValueError, match="choose an even number"):
        module.get_config("method=draft_refine,calls=5")
    for wrong in ("draft_refine_aggressive,calls=1", "step,calls=0", "step,calls=two"):
        with pytest.raises(ValueError, match="sequential calls are not possible for"):
            module.get_config(f"method={wrong}")


@pytest.mark.parametrize("method", [m for m in ROUNDS if m != "step"])
def test_an_update_that_goes_through_all_rounds_is_as_large_whatever_the_calls(method):
    def states(arg=""):
        config = fashion_mnist32_distilled.get_config(f"method={method}{arg}")
        assert config.train.batch_size % MULTIPLE == 0
        return config.train.batch_size * config.method.rounds

    for calls in (2, 4, 8):
        assert 0.85 * states() < states(f",calls={calls}") <= states()


def test_students_of_emoji_are_shown_the_guidance_weight():
    for method in build.METHODS:
        spec = build.distillation_spec(emoji64_distilled.get_config(f"method={method}"))
        assert (spec.guidance == build.UNGUIDED) == (method in ("consistency_training", "pfgmpp"))
