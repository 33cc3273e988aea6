import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from drf_jax import pytree
from drf_jax.objectives.guidance import AtWeight, GuidedModel, with_guidance
from drf_jax.objectives.model import NetworkModel
from drf_jax.process.prediction import Prediction
from drf_jax.process.schedule import CosineVP, Process
from drf_jax.sampling.guidance import Guided

NULL = {"label": jnp.array(3)}


@pytree.register
@dataclasses.dataclass(frozen=True)
class Labelled:
    """x0 = params x + label; the conditioning must hold nothing but the label and the text."""

    params: jax.Array
    process: Process = pytree.static()

    def __call__(self, x, t, cond=None):
        assert set(cond) == {"label", "text"}
        x0 = self.params * x + cond["label"][:, None] + cond["text"]
        return Prediction(x0, jnp.sin(x0) * t[:, None])


def model(params):
    return Labelled(params, CosineVP())


X, T = jnp.linspace(-1, 1, 8).reshape(4, 2), jnp.linspace(0.2, 0.8, 4)
COND = {"label": jnp.array([0, 1, 2, 1]), "text": jnp.ones((4, 2))}


def test_each_example_has_its_own_weight():
    w = jnp.array([0.0, 1.0, 2.5, 7.0])
    p = GuidedModel(model, NULL)(jnp.float32(0.5))(X, T, {**COND, "guidance": w})
    for i in range(4):
        expected = Guided(model(jnp.float32(0.5)), w[i], NULL)(X, T, COND)
        np.testing.assert_allclose(p.x0[i], expected.x0[i], rtol=1e-5)
        np.testing.assert_allclose(p.eps[i], expected.eps[i], rtol=1e-5, atol=1e-6)


def test_weight_one_is_the_conditional_model_and_zero_the_unconditional():
    guided, plain = GuidedModel(model, NULL)(jnp.float32(0.5)), model(jnp.float32(0.5))
    one, zero = (guided(X, T, {**COND, "guidance": jnp.full(4, w)}) for w in (1.0, 0.0))
    np.testing.assert_allclose(one.x0, plain(X, T, COND).x0, rtol=1e-6, atol=1e-6)
    empty = {**COND, "label": jnp.full(4, 3)}
    np.testing.assert_array_equal(zero.x0, plain(X, T, empty).x0)


def test_weights_are_drawn_for_each_example_and_passed_on():
    seen = []

    def objective(params, frozen, batch, key):
        seen.append(batch["cond"])
        return batch["x0"][:, 0], {}

    batch = {"x0": jnp.zeros((2000, 2)), "cond": {"label": jnp.zeros(2000, jnp.int32)}}
    loss, _ = with_guidance(objective, 2.0, 6.0)({}, {}, batch, jax.random.key(0))
    w = seen[0]["guidance"]
    assert w.shape == (2000,) and loss.shape == (2000,)
    assert 2 <= w.min() < 2.05 and 5.95 < w.max() <= 6
    assert abs(w.mean() - 4) < 0.1
    assert seen[0]["label"] is batch["cond"]["label"] and set(batch["cond"]) == {"label"}
    with_guidance(objective, 1.0, 1.0)({}, {}, {**batch, "cond": None}, jax.random.key(0))
    np.testing.assert_array_equal(seen[1]["guidance"], jnp.ones(2000))


@dataclasses.dataclass(frozen=True)
class Toy:
    def apply(self, variables, x, t, cond):
        return variables["params"] * x


def test_a_network_model_reads_its_output():
    p = NetworkModel(Toy(), CosineVP(), "x0")(jnp.float32(0.3))(X, T)
    np.testing.assert_array_equal(p.x0, 0.3 * X)


def test_at_one_weight_the_guided_model_needs_no_weight_in_its_conditioning():
    guided = GuidedModel(model, NULL)(jnp.float32(0.5))
    at = jax.jit(lambda denoiser: denoiser(X, T, COND))(AtWeight(guided, jnp.float32(2.5)))
    expected = guided(X, T, {**COND, "guidance": jnp.full(4, 2.5)})
    np.testing.assert_allclose(at.x0, expected.x0, rtol=1e-5)
    np.testing.assert_allclose(at.eps, expected.eps, rtol=1e-5, atol=1e-6)
