"""A consistency function as a method: n sequential calls, noise in between."""

import jax

from drf_jax.process.gaussian import prior
from drf_jax.process.schedule import Process
from drf_jax.sampling import consistency
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.loops import Loop
from drf_jax.sampling.method import Method, compile_for


def consistency_method(
    name: str,
    f: consistency.ConsistencyLike,
    process: Process,
    times: Grid,
    loop: Loop,
    t_min: float = 0.0,
) -> Method:
    """``f`` called at the falling ``times``; ``t_min`` is the time of its results."""

    def run(f, noise, keys, cond):
        x = prior(process, process.noise(noise, keys), times[0])
        return consistency.sample(f, process, times, x, cond, keys, t_min, loop)

    calls = len(times)
    return Method(name, jax.tree_util.Partial(compile_for(loop, run), f), calls, calls)
