"""Steps whose objective reads the average of the parameters being trained: ``frozen["target"]`` is the state's EMA.

The average is part of the training state already, so such a run saves and resumes like any other. The decay is the
step's own (`drf_jax.training.step`, equation 1): the same average is the target and the result.
"""

from drf_jax.sharding import gather
from drf_jax.training.step import TrainStep


def with_ema_target(step: TrainStep) -> TrainStep:
    """The step with ``frozen["target"]`` added; ``frozen`` is a dict, or None for no other frozen parameters."""

    def with_target(state, frozen, batch, key):
        return step(state, {**(frozen or {}), "target": gather(state.ema)}, batch, key)

    return with_target
