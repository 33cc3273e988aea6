"""Two optimizers in one update: the student's and the discriminator's.

An adversarial objective is one loss on the tree ``{"student": ..., "discriminator": ...}`` in which neither part has a
gradient through the other's terms (`drf_jax.objectives.adversarial`). So one gradient serves both players, who move at
the same time, and what is left is that each has an optimizer of its own, with its own learning rate and its own
clipping; Adam without momentum (b1 = 0) for both keeps the game from collapsing. The state is an ordinary `TrainState`:
make it with ``create_state(params, by_group(...))``; it is saved, resumed and sharded like any other.
"""

from collections.abc import Mapping

import optax

from drf_jax.errors import UserError
from drf_jax.training.step import TrainStep, make_train_step
from drf_jax.typing import Objective


def by_group(
    optimizers: Mapping[str, optax.GradientTransformation],
) -> optax.GradientTransformation:
    """The optimizer of a dict of parameter trees that treats each with its own.

    Raises:
      UserError: the parameters' names are not the optimizers' (when it is initialised).
    """

    def init(params):
        if set(params) != set(optimizers):
            raise UserError(
                f"optimizers for {', '.join(sorted(optimizers))}; parameters: {', '.join(sorted(params))}"
            )
        return {name: optimizer.init(params[name]) for name, optimizer in optimizers.items()}

    def update(updates, state, params):
        done = {
            name: optimizer.update(updates[name], state[name], params[name])
            for name, optimizer in optimizers.items()
        }
        return tuple({name: pair[i] for name, pair in done.items()} for i in (0, 1))

    return optax.GradientTransformation(init, update)


def make_adversarial_step(
    objective: Objective,
    student: optax.GradientTransformation,
    discriminator: optax.GradientTransformation,
    ema_decay: float = 0.999,
    accumulate: int = 1,
) -> tuple[TrainStep, optax.GradientTransformation]:
    """The step (as of `make_train_step`) and the optimizer that its state is created with."""
    optimizer = by_group({"student": student, "discriminator": discriminator})
    return make_train_step(objective, optimizer, ema_decay, accumulate), optimizer
