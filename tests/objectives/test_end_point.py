import jax
import jax.numpy as jnp
import numpy as np

from drf_jax.objectives.draft_refine import jump_scale, state_loss
from drf_jax.objectives.end_point import EndPoint
from drf_jax.objectives.terms import Walked
from drf_jax.process.schedule import CosineVP

PROCESS = CosineVP()


def test_it_is_the_main_loss_of_the_last_state_alone():
    keys = jax.random.split(jax.random.key(0), 3)
    states, targets = (jax.random.normal(key, (3, 2, 4, 4, 1)) for key in keys[:2])
    times = jnp.array([[0.9, 0.8], [0.7, 0.6], [0.5, 0.3], [0.0, 0.1]])
    walked = Walked(jax.random.normal(keys[2], (2, 4, 4, 1)), states, targets, times)
    found = EndPoint(PROCESS)(None, walked)
    main = state_loss(PROCESS, states, targets, times[0], times[1:])
    np.testing.assert_allclose(found, main[-1], rtol=1e-6)
    other = walked._replace(states=states.at[:-1].add(1.0))
    np.testing.assert_array_equal(EndPoint(PROCESS)(None, other), found)
    error = np.mean((states[-1] - targets[-1]) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(
        found, error / jump_scale(PROCESS, times[:1], times[-1:])[0] ** 2, 1e-5
    )
