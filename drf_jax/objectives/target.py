"""Whose answer a consistency objective believes: the parameters θ⁻ on the target's side of the loss.

``stop_gradient``  θ⁻ = θ without a gradient (Song & Dhariwal 2023: what consistency training needs)
``ema``            θ⁻ = ``frozen["target"]``, an average of θ that the step provides (`drf_jax.training.ema_target`;
                   Song et al. 2023, Luo et al. 2023)
``self``           θ⁻ = θ, and the gradient runs through both sides
"""

from collections.abc import Callable

import jax

from drf_jax.errors import UserError
from drf_jax.typing import Params

TARGETS: dict[str, Callable[[Params, Params], Params]] = {
    "stop_gradient": lambda params, frozen: jax.lax.stop_gradient(params),
    "ema": lambda params, frozen: jax.lax.stop_gradient(frozen["target"]),
    "self": lambda params, frozen: params,
}
"""Name -> (params, frozen) -> θ⁻."""


def check_target(name: str) -> None:
    """Raise unless ``name`` is one of `TARGETS`."""
    if name not in TARGETS:
        raise UserError(f"target = {name!r}: choose one of {', '.join(TARGETS)}")
