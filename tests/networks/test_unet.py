import dataclasses

import jax
import jax.numpy as jnp
import pytest

from drf_jax.errors import UserError
from drf_jax.networks.cross_draft import CrossDraft
from drf_jax.networks.unet import UNet

NET = UNet(
    channels=2, width=8, multipliers=(1, 2, 2), blocks=1, attention=(False, True, False), heads=2
)
X, C = jnp.zeros((2, 4, 8, 2)), jnp.zeros((2, 32))


def shapes(trunk):
    return jax.eval_shape(trunk.init, jax.random.key(0), X, C)["params"]


def test_features_have_the_images_resolution():
    features, _ = jax.eval_shape(NET.trunk().init_with_output, jax.random.key(0), X, C)
    assert features.shape == (2, 4, 8, 8)


def test_attention_sits_at_the_chosen_levels_and_in_the_middle():
    having = {name for name, tree in shapes(NET.trunk()).items() if "attention" in tree}
    assert having == {"down_1_0", "middle_0", "up_1_0", "up_1_1"}


def test_mixers_add_names_and_change_none():
    plain, mixed = shapes(NET.trunk()), shapes(NET.trunk(CrossDraft(2, 2)))
    extra = set(mixed) - set(plain)
    # two levels below the first: one block down, two up each; two in the middle
    assert extra == {f"mix_{i}" for i in range(8)}
    assert {name: mixed[name] for name in plain} == plain


def test_mixers_may_follow_self_attention_only():
    mixed = shapes(NET.trunk(CrossDraft(2, 2, where="attention")))
    # one block down, the first of the middle, two up
    assert {name for name in mixed if name.startswith("mix")} == {f"mix_{i}" for i in range(4)}


def test_one_level_mixes_in_the_middle_only():
    net = dataclasses.replace(NET, multipliers=(1,), attention=(False,))
    names = {name for name in shapes(net.trunk(CrossDraft(2, 2))) if name.startswith("mix")}
    assert names == {"mix_0", "mix_1"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "width=8 times 2 is not a multiple of heads=3"),
        ({"multipliers": (1, 2)}, "attention has 3 levels, multipliers 2"),
        ({"multipliers": (), "attention": ()}, "multipliers="),
        ({"blocks": 0}, "blocks=0"),
        ({"dtype": "int8"}, "int8"),
    ],
)
def test_bad_descriptions(change, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(NET, **change)


def test_levels_without_attention_need_no_heads():
    net = dataclasses.replace(NET, multipliers=(1, 3, 3), heads=3)
    assert net.head_widths == (8, 8)  # of the level and of the middle


@pytest.mark.parametrize(
    ("shape", "message"), [((2, 4, 6, 2), "4x6: .* multiples of 4"), ((2, 4, 4, 3), "3 channels")]
)
def test_bad_images(shape, message):
    with pytest.raises(UserError, match=message):
        jax.eval_shape(NET.trunk().init, jax.random.key(0), jnp.zeros(shape), C)
