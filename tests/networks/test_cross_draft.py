import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.drafts import merge_drafts, split_drafts
from drf_jax.errors import UserError
from drf_jax.networks import cross_draft
from drf_jax.networks.cross_draft import CrossDraft, CrossDraftAttention

K, B = 3, 2
H = jax.random.normal(jax.random.key(1), (K * B, 2, 2, 8))
C = jax.random.normal(jax.random.key(2), (K * B, 5))
MODULE = CrossDraftAttention(drafts=K, heads=2)


def test_nothing_at_initialisation(fresh):
    params, apply = fresh(MODULE, H, C)
    np.testing.assert_array_equal(apply(params, H, C), 0 * H)


def test_information_crosses_drafts_of_one_sample_at_one_position_only(make):
    params, apply = make(MODULE, H, C)
    changed = H.at[2 * B + 1, 0, 1].add(jnp.arange(8.0))  # draft 2, sample 1, position (0, 1)
    difference = jnp.abs(apply(params, changed, C) - apply(params, H, C)).max(axis=-1)
    moved = np.argwhere(split_drafts(difference, K) > 1e-6).tolist()
    assert moved == [[draft, 1, 0, 1] for draft in range(K)]


def test_sums_and_products_are_the_same_attention():
    q, k, v, y = jax.random.normal(jax.random.key(3), (4, K, B, 5, 2, 4))
    dtype = jnp.dtype("float32")
    made = []
    for form in (cross_draft.as_sums, cross_draft.as_products):
        loss = lambda q, k, v, form=form: (form(q, k, v, dtype) * y).sum()
        made.append((form(q, k, v, dtype), jax.grad(loss, argnums=(0, 1, 2))(q, k, v)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *made)


def test_permuting_drafts_permutes_the_output_without_the_index(make):
    params, apply = make(MODULE, H, C)
    order = jnp.array([2, 0, 1])
    shuffle = lambda x: merge_drafts(split_drafts(x, K)[order])
    error = lambda p: jnp.abs(apply(p, shuffle(H), shuffle(C)) - shuffle(apply(p, H, C))).max()
    assert error({**params, "index": jnp.zeros_like(params["index"])}) < 1e-6
    assert error(params) > 1e-4


def test_the_drafts_own_conditioning_matters(make):
    params, apply = make(MODULE, H, C)
    difference = jnp.abs(apply(params, H, C.at[0].add(1.0)) - apply(params, H, C))
    assert (split_drafts(difference, K).max(axis=(2, 3, 4)) > 1e-5).tolist() == [[True, False]] * K


@pytest.mark.parametrize("heads, used", [(3, 1), (6, 2), (12, 4)])
def test_as_many_heads_as_divide_the_width(make, heads, used):
    params, _ = make(MODULE, H, C)
    draw = lambda n: CrossDraftAttention(drafts=K, heads=n).apply({"params": params}, H, C)
    np.testing.assert_array_equal(draw(heads), draw(used))


@pytest.mark.parametrize("inner", [4, 16])
def test_the_attention_may_have_a_width_of_its_own(make, fresh, inner):
    module = CrossDraftAttention(drafts=K, heads=2, inner=inner)
    params, apply = make(module, H, C)
    assert params["qkv"]["kernel"].shape == (8, 3 * inner)
    assert params["out"]["kernel"].shape == (inner, 8)
    assert apply(params, H, C).shape == H.shape
    assert jnp.abs(apply(params, H, C)).max() > 1e-3
    own, _ = fresh(MODULE, H, C)  # without one, that of the feature map
    assert own["qkv"]["kernel"].shape == (8, 24)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"width": 3},
            "cross_draft_width = 3: must be a multiple of the network's heads = 2, or 0",
        ),
        ({"where": "levels"}, "cross_draft = 'levels': choose one of every_block, attention"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(UserError, match=message):
        CrossDraft(2, 2, **options)


def test_drafts_must_be_positive():
    with pytest.raises(UserError, match="drafts=0"):
        CrossDraft(drafts=0, heads=2)
