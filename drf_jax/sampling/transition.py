"""Deterministic transitions between two noise levels, from a prediction.

Skip (DDIM over any gap, Song et al. 2021; DRiffusion's skip transition):

    S(p, u) = α_u p.x0 + σ_u p.ε                                                                       (1)

Reuse: advance a state r at time t with a prediction p that was made at *another* state of the same time.

    noise form   S̃(r, p, t→u) = α_u (r − σ_t p.ε) / α_t + σ_u p.ε                                      (2)
    data form    S̃(r, p, t→u) = (σ_u / σ_t)(r − α_t p.x0) + α_u p.x0                                   (3)

(2) is DRiffusion's (arXiv 2603.25872): it keeps the noise and re-reads x0 from r. (3) keeps x0 and is contractive: a
difference in r shrinks by σ_u/σ_t. Both equal (1) where p was made at r itself. For t = u both return r. A walk takes
one such step after another, each with a prediction of its own; with one prediction for all it equals the jump.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.process.prediction import Prediction, expand
from drf_jax.process.schedule import Process

FORMS = ("noise", "data")

States = Float[Array, "*batch_state"]
Levels = Float[Array, "*batch"]


def skip(process: Process, p: Prediction, u: Levels) -> States:
    """Equation (1): the state at time u that p describes; u's axes are the leading axes of the state."""
    return expand(process.alpha(u), p.x0) * p.x0 + expand(process.sigma(u), p.x0) * p.eps


def reuse(process: Process, form: str, r: States, p: Prediction, t: Levels, u: Levels) -> States:
    """Equation (2) or (3). Where α_t (σ_t) is 0 and the noise (data) form is undefined, the other form is used."""
    a_t, s_t = expand(process.alpha(t), r), expand(process.sigma(t), r)
    a_u, s_u = expand(process.alpha(u), r), expand(process.sigma(u), r)
    noise_safe, data_safe = a_t > 1e-4, s_t > 1e-6
    a_div, s_div = jnp.where(noise_safe, a_t, 1), jnp.where(data_safe, s_t, 1)
    by_noise = a_u / a_div * (r - s_t * p.eps) + s_u * p.eps
    by_data = s_u / s_div * (r - a_t * p.x0) + a_u * p.x0
    by_form = {
        "noise": jnp.where(noise_safe, by_noise, by_data),
        "data": jnp.where(data_safe, by_data, by_noise),
    }
    return jnp.where(expand(t == u, r), r, by_form[form])


def walk(
    process: Process,
    form: str,
    first: Float[Array, "b *state"],
    p: Prediction,
    times: Float[Array, "m b"],
) -> Float[Array, "m b *state"]:
    """States r_1 … r_M at ``times``: r_1 = ``first``, r_{j+1} = S̃(r_j, p_j, t_j → t_{j+1}); p holds M − 1."""

    def step(r, at):
        p_j, t, u = at
        r = reuse(process, form, r, p_j, t, u)
        return r, r

    _, rest = jax.lax.scan(step, first, (p, times[:-1], times[1:]))
    return jnp.concatenate([first[None], rest])
