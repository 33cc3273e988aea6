import jax
import numpy as np

from drf_jax.networks.adapted import adapt, adapted, split


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


PARAMS = {
    "drafter": {
        "embed": {
            "time_in": {"kernel": normal(4, 6), "bias": normal(6)},
            "guidance": {"kernel": normal(4, 6)},
        },
        "trunk": {"block_0": {"kernel": normal(3, 3, 2, 6)}},
        "heads": {"out": {"kernel": normal(3, 6, 2)}},
        "targets": {"trunk": {"kernel": normal(4, 6)}},
    },
    "refiner": {
        "trunk": {"block_0": {"kernel": normal(6, 6)}, "mix_0": {"out": {"kernel": normal(6, 6)}}},
        "head": {"out": {"kernel": normal(6, 2)}},
    },
}


def paths(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, _ in jax.tree_util.tree_leaves_with_path(tree)
    }


def test_nothing_changes_before_training():
    base, _ = split(PARAMS)
    found = adapted(base, adapt(PARAMS, 2, jax.random.key(1)))
    assert jax.tree.structure(found) == jax.tree.structure(PARAMS)
    jax.tree.map(np.testing.assert_array_equal, found, PARAMS)


def test_what_has_no_counterpart_is_trained_as_it_is_and_kernels_have_deltas():
    base, own = split(PARAMS)
    assert paths(own) == {
        "drafter/embed/guidance/kernel",
        "drafter/heads/out/kernel",
        "drafter/targets/trunk/kernel",
        "refiner/trunk/mix_0/out/kernel",
    }
    assert paths(base) | paths(own) == paths(PARAMS)
    trained = adapt(PARAMS, 2, jax.random.key(1))
    kernels = {path for path in paths(base) if path.endswith("kernel")}
    assert paths(trained["lora"]) == {f"{k}/{x}" for k in kernels for x in "ab"}
    jax.tree.map(np.testing.assert_array_equal, trained["own"], own)


def test_a_step_moves_every_kernel_and_no_bias():
    base, _ = split(PARAMS)
    trained = adapt(PARAMS, 2, jax.random.key(1))
    moved = jax.tree.map(lambda leaf: leaf + 0.1, trained)
    change = jax.tree.map(lambda a, b: bool((a != b).any()), adapted(base, moved), PARAMS)
    flat = jax.tree_util.tree_leaves_with_path(change)
    still = [jax.tree_util.keystr(path) for path, did in flat if not did]
    assert still == ["['drafter']['embed']['time_in']['bias']"]
