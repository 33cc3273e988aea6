import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from drf_jax.plan.collectives import Collectives, collectives, group_size, moved
from drf_jax.plan.flops import loop_factor
from drf_jax.plan.hlo import Instruction, bytes_of, closing, parse

TPU = """\
HloModule jit_f, is_scheduled=true

%all-reduce-scatter.1 (p: f32[8,4]) -> f32[2,4] {
  %p = f32[8,4]{1,0:T(8,128)} parameter(0)
  %all-reduce.9 = f32[8,4]{1,0:T(8,128)} all-reduce(%p), replica_groups=mesh['a'=4,'b'=2] {'a'}, to_apply=%add
  ROOT %ds = f32[2,4]{1,0:T(8,128)} dynamic-slice(%all-reduce.9), dynamic_slice_sizes={2,4}
}

%body (q: (s32[], bf16[16,8])) -> (s32[], bf16[16,8]) {
  %q = (s32[]{:T(128)}, bf16[16,8]{1,0:T(8,128)(2,1)S(1)}) parameter(0)
  %x = bf16[16,8]{1,0} get-tuple-element(%q), index=1
  %i = s32[]{:T(128)} get-tuple-element(%q), index=0
  %ag = bf16[16,32]{1,0} all-gather(%x), replica_groups=[2,4]<=[8], dimensions={1}
  %h = (bf16[16,8]{1,0}, bf16[16,8]{1,0}) collective-permute-start(%x), source_target_pairs={{0,1},{1,0}}
  %w = bf16[32,8]{1,0} constant({...})
  %y = bf16[16,8]{1,0} convolution(%ag, %w), dim_labels=bf_io->bf
  ROOT %t = (s32[], bf16[16,8]{1,0}) tuple(%i, %y)
}

%below (q.1: (s32[], bf16[16,8])) -> pred[] {
  %c = s32[]{:T(128)} constant(12)
  %q.1 = (s32[]{:T(128)}, bf16[16,8]{1,0}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%q.1), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i.1, %c), direction=LT
}

ENTRY %main (a: (s32[], bf16[16,8]), b: f32[8,4]) -> (s32[], bf16[16,8]) {
  %a = (s32[]{:T(128)}, bf16[16,8]{1,0}) parameter(0)
  %b = f32[8,4]{1,0:T(8,128)} parameter(1)
  %fusion = f32[2,4]{1,0} fusion(%b), kind=kCustom, calls=%all-reduce-scatter.1
  ROOT %loop = (s32[]{:T(128)}, bf16[16,8]{1,0}, /*index=5*/f32[]) while(%a), condition=%below, body=%body
}
"""
"""What a TPU's program looks like: layouts with parentheses, no noted trip count, no plain dot."""


def test_sizes_of_shapes():
    assert bytes_of("f32[8,4]{1,0:T(8,128)(2,1)}") == 128
    assert bytes_of("(s32[]{:T(128)}, bf16[16,8]{1,0}, /*index=5*/pred[3])") == 4 + 256 + 3
    assert bytes_of("f8e4m3fn[10]{0}") == 10 and bytes_of("u4[6]{0}") == 3
    with pytest.raises(ValueError, match="not closed"):
        closing("(a(b)", 0)


def test_a_loops_body_runs_as_often_as_its_condition_says():
    module = parse(TPU)
    assert module.counts == {"%all-reduce-scatter.1": 1, "%body": 12, "%below": 12, "%main": 1}
    assert loop_factor(module) == 12


def test_collectives_of_a_tpu_program():
    scatter, gather, permute = 8 * 4 * 4, 16 * 32 * 2, 16 * 8 * 2
    assert {c.kind: c for c in collectives(parse(TPU), 8)} == {
        "reduce-scatter": Collectives("reduce-scatter", 1, scatter, scatter * 3 // 4),
        "all-gather": Collectives("all-gather", 12, 12 * gather, 12 * gather * 3 // 4),
        "collective-permute": Collectives("collective-permute", 12, 12 * permute, 12 * permute),
    }


@pytest.mark.parametrize(
    "groups, size",
    [
        ("{{0,1,2,3},{4,5,6,7}}", 4),
        ("[4,2]<=[8]T(0,1)", 2),
        ("mesh['a'=4,'b'=2] {'a','b'}", 8),
        ("mesh['a'=4,'b'=2] {'a':(1)2}", 2),
        ("mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'b'}", 2),
        ("{}", 8),
    ],
)
def test_groups_in_every_notation(groups, size):
    i = Instruction(
        "%x", "f32[]", "all-reduce", "", f", replica_groups={groups}, to_apply=%add", "%m"
    )
    assert group_size(i, 8) == size


def test_a_ring_moves_its_share():
    assert moved("all-reduce", 800, 4) == 1200 and moved("all-gather", 800, 4) == 600
    assert moved("collective-permute", 800, 4) == 800 and moved("all-reduce", 800, 1) == 0


def test_the_gradient_of_a_sharded_mean_is_one_all_reduce(compiled):
    loss = lambda w, x: jnp.mean(jnp.tanh(x @ w))
    args = ((16, 4), P()), ((8, 16), P(("data", "draft")))
    _, module = compiled(jax.grad(loss), *args)
    (found,) = collectives(module, 8)
    assert (found.kind, found.count, found.payload) == ("all-reduce", 1, 16 * 4 * 4)
    assert found.moved == 2 * found.payload * 7 // 8


def test_a_gather_over_one_axis_has_that_axis_size(compiled):
    _, module = compiled(lambda x: x * 2, ((8, 16), P("draft")))
    (found,) = collectives(module, 8)
    assert (found.kind, found.count, found.payload) == ("all-gather", 1, 8 * 16 * 4)
    assert found.moved == found.payload // 2


@pytest.mark.parametrize("steps", [1, 7])
def test_collectives_inside_a_loop_count_every_time(compiled, steps):
    def walk(w, x):
        return jax.lax.scan(lambda x, _: (x + jnp.tanh(w @ x), None), x, None, length=steps)[0]

    _, module = compiled(walk, ((16, 16), P(None, "data")), ((16, 4), P()))
    assert sum(c.count for c in collectives(module, 8) if c.kind == "all-reduce") == steps


@pytest.mark.parametrize(
    "f, shapes",
    [
        (lambda a, b: a @ b, [(8, 16), (16, 32)]),
        (lambda a, b: jnp.einsum("bij,bjk->bik", a, b), [(3, 8, 16), (3, 16, 4)]),
        (
            lambda x, w: jax.lax.conv_general_dilated(
                x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            ),
            [(2, 9, 9, 4), (3, 3, 4, 8)],
        ),
        (
            lambda x, w: jax.lax.conv_general_dilated(
                x, w, (1,), [(2, 2)], (3,), (2,), ("NWC", "WIO", "NWC")
            ),
            [(2, 5, 4), (3, 4, 8)],
        ),
    ],
)
def test_flops_are_those_of_xla_and_a_loop_multiplies_them(f, shapes):
    from drf_jax.plan.flops import convolution_flops, dot_flops

    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    program = jax.jit(f).lower(*shapes).compile({"xla_disable_hlo_passes": "fusion"})
    module = parse(program.as_text())
    count = {"dot": dot_flops, "convolution": convolution_flops}
    found = [count[i.opcode](module, i) for i in module.instructions if i.opcode in count]
    assert sum(found) == pytest.approx(program.cost_analysis()["flops"], rel=1e-6)

    loop = lambda a, b: jax.lax.fori_loop(0, 5, lambda i, s: s + f(a + s.sum(), b).sum(), 0.0)
    looped = jax.jit(loop).lower(*shapes).compile()
    assert loop_factor(parse(looped.as_text())) == 5
