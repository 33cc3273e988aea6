"""Adversarial diffusion distillation (Sauer et al. 2023, arXiv 2311.17042; SDXL-Turbo).

A student of few steps sees x_s = α x0 + σ ε at a random one of its own times s and makes x̂ = x̂_θ(x_s, s). With F_k the
maps of a frozen feature network, D_k the discriminator's heads, sg "no gradient" and f_T the teacher:

    L_θ = −Σ_k D_k(F_k(x̂)) + λ α_t ‖x̂ − sg x̂0_T(x̂_t, t)‖²,      x̂_t = α_t sg x̂ + σ_t ε'              (1)
    L_φ = Σ_k max(0, 1 − D_k(F_k(x0))) + max(0, 1 + D_k(F_k(sg x̂))) + γ ‖∇_{F_k} D_k(F_k(x0))‖²        (2)

The second term of (1) is score distillation with the weight α_t; the last of (2) is the R1 penalty, taken at the heads'
input. (1) has no gradient for the discriminator φ and (2) none for the student θ, so the objective is their sum on one
parameter tree ``{"student": θ, "discriminator": φ}``: each part gets its own gradient, and
`drf_jax.training.adversarial_step` gives each its own optimizer.

The student's sampler is that of a consistency function without a boundary: x̂0, noise again, x̂0, …
The feature network must not be the one that the samples are scored with.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.objectives.distance import squared
from drf_jax.objectives.model import Model
from drf_jax.process.gaussian import perturb
from drf_jax.process.schedule import Process
from drf_jax.process.time import TimeDistribution, uniform
from drf_jax.typing import Cond, Metrics, Network, Params, PerExample, PRNGKey, State

Maps = tuple[jax.Array, ...]
Features = Callable[[Params, State], Maps]
"""(parameters of the feature network, images) -> feature maps ``[b, ...]``."""


@dataclasses.dataclass(frozen=True)
class Adversarial:
    """(1) + (2) on batches ``{"x0": [b, *state], "cond": ...}``.

    ``frozen`` holds the parameters of the ``teacher`` and of the ``features`` network; ``grid`` are the times at which
    the student is called; ``discriminator`` maps feature maps and conditioning to scores ``[heads, b]``.
    """

    student: Model
    teacher: Model
    discriminator: Network
    features: Features
    process: Process
    grid: tuple[float, ...]
    distill_weight: float = 2.5
    r1_weight: float = 1e-5
    times: TimeDistribution = uniform

    def __call__(
        self, params: Params, frozen: Params, batch: dict, key: PRNGKey
    ) -> tuple[PerExample, Metrics]:
        x0, cond = batch["x0"], batch["cond"]
        index_key, noise_key, distill_key = jax.random.split(key, 3)
        s = jax.random.choice(index_key, jnp.asarray(self.grid, x0.dtype), x0.shape[:1])
        x_s = perturb(self.process, x0, jax.random.normal(noise_key, x0.shape, x0.dtype), s)
        fake = self.student(params["student"])(x_s, s, cond).x0

        scores = lambda phi, maps: self.discriminator.apply({"params": phi}, maps, cond)
        maps = lambda image: self.features(frozen["features"], image)
        fooled = scores(jax.lax.stop_gradient(params["discriminator"]), maps(fake)).sum(0)
        distill = self.distillation(frozen["teacher"], fake, cond, distill_key)

        score = lambda m: scores(params["discriminator"], m)
        discriminator, judged = discriminator_loss(
            score, maps(x0), maps(jax.lax.stop_gradient(fake)), self.r1_weight
        )
        student = self.distill_weight * distill - fooled
        metrics = {"student": student, "distill": distill, "discriminator": discriminator}
        return student + discriminator, metrics | judged

    def distillation(
        self, teacher_params: Params, fake: State, cond: Cond, key: PRNGKey
    ) -> PerExample:
        """α_t times the mean squared difference of x̂ to what the teacher makes of it, noised."""
        time_key, noise_key = jax.random.split(key)
        t = self.times(self.process, time_key, len(fake))
        noise = jax.random.normal(noise_key, fake.shape, fake.dtype)
        noised = perturb(self.process, jax.lax.stop_gradient(fake), noise, t)
        target = self.teacher(teacher_params)(noised, t, cond).x0
        return self.process.alpha(t) * squared(fake, target)


def discriminator_loss(
    score: Callable[[Maps], Float[Array, "heads b"]],
    real: Maps,
    fake: Maps,
    r1_weight: float,
) -> tuple[PerExample, Metrics]:
    """Equation (2) of the maps of real and of the student's images, and what it is made of."""
    real_scores, fake_scores = score(real), score(fake)
    hinge = (jax.nn.relu(1 - real_scores) + jax.nn.relu(1 + fake_scores)).sum(0)
    r1 = squared_norm(jax.grad(lambda maps: score(maps).sum())(real))
    metrics = {"r1": r1, "real_score": real_scores.mean(0), "fake_score": fake_scores.mean(0)}
    return hinge + r1_weight * r1, metrics


def squared_norm(maps: Maps) -> PerExample:
    """Σ over maps and entries of the squares, for each example."""
    return sum(jnp.sum(each**2, axis=tuple(range(1, each.ndim))) for each in maps)
