"""Random keys of a run: the config's seed with a number folded in for each use, so that no two uses share noise."""

import jax

TRAIN, SAMPLE, INIT, TRAJECTORY, HELD_OUT = 0, 1, 2, 3, 4


def root_key(seed: int, use: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(seed), use)
