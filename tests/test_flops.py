import jax
import jax.numpy as jnp
import pytest

from drf_jax.data.conditioning import null_cond
from drf_jax.flops import operations
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.networks.unet import UNet
from drf_jax.sharding import make_mesh


def conv(stride=1, padding="SAME", lhs=(1, 1), rhs=(1, 1), groups=1):
    def f(x, w):
        return jax.lax.conv_general_dilated(
            x,
            w,
            (stride, stride),
            padding,
            lhs,
            rhs,
            ("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    return f


def by_xla(f, *shapes):
    """XLA's count without what is done number by number."""
    program = jax.jit(f).lower(*shapes)
    return program.cost_analysis()["flops"]


IMAGE, KERNEL = (2, 9, 8, 6), (3, 3, 6, 4)


@pytest.mark.parametrize(
    "f, shapes",
    [
        (lambda a, b: a @ b, ((3, 5), (5, 7))),
        (lambda a, b: jnp.einsum("bik,bkj->bij", a, b), ((4, 3, 5), (4, 5, 7))),
        (conv(), (IMAGE, KERNEL)),
        (conv(stride=2), (IMAGE, KERNEL)),
        (conv(padding="VALID", rhs=(2, 2)), (IMAGE, KERNEL)),
        (conv(padding=((1, 2), (0, 1)), lhs=(2, 2)), (IMAGE, KERNEL)),
        (conv(groups=2), (IMAGE, (3, 3, 3, 4))),
    ],
)
def test_products_and_convolutions_are_counted_as_xla_does(f, shapes):
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    assert operations(f, *shapes) == by_xla(f, *shapes)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_of_a_convolution(stride):
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (IMAGE, KERNEL)]

    def every(x, w):
        out, back = jax.vjp(conv(stride), x, w)
        return out, back(out)

    assert operations(every, *shapes) == by_xla(every, *shapes)


def test_a_loop_counts_as_often_as_it_runs_and_of_two_branches_the_dearer():
    a = jax.ShapeDtypeStruct((8, 8), jnp.float32)
    once = 2 * 8**3
    scan = lambda a: jax.lax.scan(lambda c, _: (c @ a, None), a, length=5)[0]
    assert operations(scan, a) == operations(jax.jit(scan), a) == 5 * once
    assert operations(lambda a: jax.lax.fori_loop(0, 5, lambda i, c: c @ a, a), a) == 5 * once
    either = lambda a: jax.lax.cond(a[0, 0] > 0, lambda: a @ a @ a, lambda: a @ a)
    assert operations(either, a) == 2 * once
    assert operations(jax.checkpoint(lambda a: a @ a), a) == once


def test_what_is_split_over_devices_counts_on_all_of_them():
    mesh = make_mesh(data=8)
    rows, whole = jax.sharding.PartitionSpec("data"), jax.sharding.PartitionSpec()
    f = jax.shard_map(lambda a, b: a @ b, mesh=mesh, in_specs=(rows, whole), out_specs=rows)
    a, b = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((16, 4), (4, 4)))
    assert operations(f, a, b) == 2 * 16 * 4 * 4


def test_a_u_net_s_update_has_little_else():
    net = UNet(channels=1, width=32, multipliers=(1, 2), blocks=1, attention=(False, True), heads=2)
    network = DenoisingNetwork(net)
    args = (jnp.zeros((2, 16, 16, 1)), jnp.zeros(2), null_cond(net, 2))
    params = jax.eval_shape(lambda: network.init(jax.random.key(0), *args))["params"]
    loss = lambda params: jnp.sum(network.apply({"params": params}, *args) ** 2)
    update = jax.value_and_grad(loss)
    assert 0.8 < operations(update, params) / by_xla(update, params) < 1
