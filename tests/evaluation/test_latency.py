import time

import jax.numpy as jnp
import numpy as np

from drf_jax.evaluation.latency import latency


def test_each_call_gets_fresh_noise_and_warmup_is_not_timed():
    seen = []

    def fn(noise, scale):
        time.sleep(0.2 if len(seen) < 2 else 0.01)
        seen.append(np.asarray(noise))
        assert scale == 3
        return noise * scale

    result = latency(fn, jnp.zeros((1, 4)), 3, repeats=5, warmup=2)
    assert len(seen) == 7
    assert len({x.tobytes() for x in seen}) == 7
    assert seen[0].shape == (1, 4) and seen[0].dtype == np.float32
    assert 10 <= result["p50_ms"] <= result["p95_ms"] < 150


def test_the_clock_waits_for_the_result():
    class Pending:
        def block_until_ready(self):
            time.sleep(0.02)
            return self

    assert latency(lambda noise: Pending(), jnp.zeros(1), repeats=3, warmup=0)["p50_ms"] >= 20
