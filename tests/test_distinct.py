import numpy as np

from drf_jax.distinct import distinct


def test_a_shared_array_is_one_leaf_and_comes_back_twice():
    a, b = np.zeros(2), np.zeros(2)
    chosen, rebuild = distinct({"draft": (a, b), "refine": [a], "none": None})
    assert chosen == [0, 1]
    assert rebuild(["x", "y"]) == {"draft": ("x", "y"), "refine": ["x"], "none": None}
