import jax
import jax.numpy as jnp
import numpy as np

from drf_jax.networks.shared import share, unshare

COMMON = {"embed": {"w": jnp.array([1.0, 2.0])}, "trunk": {"block_0": {"w": jnp.array([3.0])}}}
PARAMS = {
    "drafter": {**COMMON, "heads": {"w": jnp.array([4.0, 5.0])}},
    "refiner": {
        **COMMON,
        "trunk": {**COMMON["trunk"], "mix_0": {"w": jnp.array([6.0])}},
        "head": {"w": jnp.array([7.0])},
    },
}


def equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_what_both_networks_have_is_there_once():
    made = share(PARAMS)
    equal(made["shared"], COMMON)
    equal(made["drafter"], {"heads": PARAMS["drafter"]["heads"]})
    equal(made["refiner"]["trunk"], {"mix_0": PARAMS["refiner"]["trunk"]["mix_0"]})
    equal(unshare(made), PARAMS)


def test_a_network_without_anything_of_its_own_is_not_lost():
    params = {"drafter": {**COMMON, "target": {"w": jnp.array([1.0])}}, "refiner": COMMON}
    assert set(share(params)) == {"shared", "drafter"}
    equal(unshare(share(params)), params)


def test_the_gradient_of_what_is_shared_is_the_sum_of_both():
    loss = lambda p: sum(
        (i + 1) * jnp.sum(jnp.sin(leaf)) for i, leaf in enumerate(jax.tree.leaves(p))
    )
    apart = jax.grad(loss)(PARAMS)
    found = jax.grad(lambda p: loss(unshare(p)))(share(PARAMS))
    both = jax.tree.map(
        lambda a, b: a + b,
        {name: apart["drafter"][name] for name in COMMON},
        {
            "embed": apart["refiner"]["embed"],
            "trunk": {"block_0": apart["refiner"]["trunk"]["block_0"]},
        },
    )
    equal(found["shared"], both)
    equal(found["refiner"]["head"], apart["refiner"]["head"])
