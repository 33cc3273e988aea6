"""Time from call to finished result, on the host's clock.

Every call gets new noise that is already on the device, so nothing is answered from a cache and no
transfer is timed; the clock stops when the result is ready, not when the call returns.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float


def latency(
    fn: Callable[..., Any],
    noise: Float[Array, "b ..."],
    *args: Any,
    repeats: int = 30,
    warmup: int = 3,
) -> dict[str, float]:
    """Median and 95th percentile of the time of ``fn(noise, *args)``, in milliseconds.

    Args:
      fn: a compiled function; its first argument is the noise.
      noise: gives shape and type of the noise; each call gets a fresh standard normal draw, on the
        same devices if it was put on some.
      *args: passed on as they are.
      repeats: timed calls.
      warmup: calls before them that are not timed (the first one compiles).

    Returns:
      ``{"p50_ms", "p95_ms"}``.
    """
    draws = [
        jax.random.normal(jax.random.fold_in(jax.random.key(0), i), noise.shape, noise.dtype)
        for i in range(warmup + repeats)
    ]
    if noise.committed:
        draws = jax.device_put(draws, noise.sharding)
    jax.block_until_ready((draws, args))
    seconds = []
    for draw in draws:
        start = time.perf_counter()
        jax.block_until_ready(fn(draw, *args))
        seconds.append(time.perf_counter() - start)
    p50, p95 = np.percentile(seconds[warmup:], [50, 95])
    return {"p50_ms": 1e3 * float(p50), "p95_ms": 1e3 * float(p95)}
