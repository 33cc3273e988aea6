import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from drf_jax.errors import UserError
from drf_jax.sharding import (
    fsdp,
    gather,
    infer_shardings,
    make_mesh,
    replicate,
    shard_batch,
    shard_tree,
    without_batch,
)


def test_mesh_takes_the_rest():
    assert dict(make_mesh(draft=2).shape) == {"data": 4, "draft": 2, "model": 1}
    assert dict(make_mesh(data=1, draft=-1, model=2).shape) == {"data": 1, "draft": 4, "model": 2}
    assert make_mesh(devices=jax.devices()[:1]).size == 1


@pytest.mark.parametrize("sizes", [(3, 1, 1), (-1, 3, 1), (-1, -1, 1), (0, 1, 1), (16, 1, 1)])
def test_impossible_mesh_names_the_numbers(sizes):
    with pytest.raises(UserError, match=rf"data={sizes[0]} x draft={sizes[1]}.* 8 devices"):
        make_mesh(*sizes)


def test_mesh_axes_are_auto():
    mesh = make_mesh()
    x = shard_batch(np.ones((8, 6), np.float32), mesh)
    # With explicit axes this merge of a split and a whole dimension is refused.
    assert jax.jit(lambda x: x.reshape(-1))(x).shape == (48,)


def test_first_match_wins_and_no_match_is_replicated():
    mesh = make_mesh(data=4, model=2)
    tree = {
        "a": {"kernel": jnp.ones((8, 6)), "bias": jnp.ones(6)},
        "b": {"kernel": jnp.ones((8, 8))},
    }
    rules = [("a/kernel", P(None, "model")), ("kernel$", fsdp(min_size=1))]
    specs = jax.tree.map(lambda s: s.spec, infer_shardings(tree, mesh, rules))
    assert specs["a"] == {"kernel": P(None, "model"), "bias": P()}
    assert specs["b"]["kernel"] == P("data", None)


def test_fsdp_splits_the_largest_divisible_dimension():
    mesh = make_mesh()
    assert fsdp(min_size=1)((3, 16, 24), mesh) == P(None, None, "data")
    assert fsdp(min_size=1)((16, 100), mesh) == P("data", None)
    assert fsdp(min_size=1)((3, 5), mesh) == P()
    assert fsdp(min_size=65)((8, 8), mesh) == P()
    assert fsdp(min_size=64)((8, 8), mesh) != P()
    assert replicate((8, 8), mesh) == P()


@pytest.mark.parametrize("spec", [P("data"), P(None, None, "data"), P("rows")])
def test_spec_that_does_not_fit_names_the_leaf(spec):
    tree = {"head": {"kernel": jax.ShapeDtypeStruct((6, 8), jnp.float32)}}
    with pytest.raises(UserError, match=r"head/kernel of shape \(6, 8\).*data=8"):
        infer_shardings(tree, make_mesh(), [("kernel", spec)])


def test_gathering_undoes_what_is_split_over_the_examples():
    assert without_batch(P("data", None)) == P(None, None)
    assert without_batch(P(None, ("data", "draft"))) == P(None, None)
    assert without_batch(P(("data", "model"), "draft")) == P(("model",), None)
    assert without_batch(P("model")) == P("model")
    assert without_batch(P()) == P()


def test_gather_is_whole_on_every_device():
    mesh = make_mesh()
    tree = shard_tree({"x": jnp.arange(16.0)}, mesh, [("", fsdp(min_size=1))])
    with jax.set_mesh(mesh):
        whole = jax.jit(gather)(tree)["x"]
    assert whole.addressable_shards[3].data.shape == (16,)
    np.testing.assert_array_equal(whole, tree["x"])
    assert gather(tree) is tree


def test_shard_tree_keeps_values():
    kernel = jnp.arange(32.0).reshape(8, 4)
    out = shard_tree({"kernel": kernel}, make_mesh(), [("", fsdp(min_size=1))])["kernel"]
    assert out.addressable_shards[0].data.shape == (1, 4)
    np.testing.assert_array_equal(out, kernel)


def test_batch_is_split_over_data_and_draft():
    batch = {"x": np.arange(32.0, dtype=np.float32).reshape(16, 2), "label": np.arange(16)}
    out = shard_batch(batch, make_mesh(data=2, draft=2, model=2))
    assert {s.data.shape for s in out["x"].addressable_shards} == {(4, 2)}
    np.testing.assert_array_equal(out["x"], batch["x"])
    np.testing.assert_array_equal(out["label"], batch["label"])


def test_indivisible_batch_is_a_user_error():
    with pytest.raises(UserError, match=r"12 examples .* 8 devices"):
        shard_batch({"x": np.zeros((12, 2))}, make_mesh(data=2, draft=4))
