"""The TPU's own compiler on 16 described chips; needs the extra ``tpu``, as ``make plan-check`` installs it."""

import pytest

from drf_jax.configs import imagenet512_dit_xl2
from drf_jax.errors import UserError
from drf_jax.plan.data import planned_data
from drf_jax.plan.plan import make_plan
from drf_jax.plan.programs import programs
from drf_jax.plan.topology import describe
from drf_jax.sharding import make_mesh

pytest.importorskip("libtpu")


@pytest.fixture(scope="module")
def chips():
    return describe("v5e:4x4")


def plan(chips, program, method="", draft=1, batch=16, memory=None):
    config = imagenet512_dit_xl2.get_config("smoke")
    mesh = make_mesh(-1, draft, 1, devices=chips.devices)
    made = programs(config, planned_data(config), mesh, config, method)[program]()
    return make_plan(made, chips, dict(mesh.shape), batch, memory)


def test_a_training_step_compiles_for_16_chips(chips):
    made = plan(chips, "train")
    assert chips.devices[0].platform == "tpu" and len(chips.devices) == 16
    assert 0 < made.cost.memory < chips.chip.hbm and made.record["estimate"]["seconds"] > 0
    assert {c.kind for c in made.cost.collectives} == {"all-reduce"}


def test_a_sampler_compiles_and_its_drafts_are_exchanged_once_a_round(chips):
    serial = plan(chips, "sample", "ddim-48")
    aggressive = plan(chips, "sample", "driffusion-aggressive-7", draft=8, batch=2)
    assert serial.cost.collectives == ()
    assert [(c.kind, c.count) for c in aggressive.cost.collectives] == [("all-gather", 6)]
    # One image and one draft of it a chip: as many evaluations as there are sequential calls.
    assert aggressive.cost.flops == pytest.approx(serial.cost.flops * 7 / 48, rel=0.02)


def test_what_needs_more_than_a_chip_has_is_refused(chips):
    with pytest.raises(UserError, match="batch 16 does not fit a chip: it needs"):
        plan(chips, "train", memory=2**20)


@pytest.mark.parametrize("topology", ["v5e:4x4", "v6e:4x4", "v5p:2x2x4"])
def test_a_mesh_need_not_follow_the_sides_of_the_torus(topology):
    mesh = make_mesh(2, 8, 1, devices=describe(topology).devices)
    assert dict(mesh.shape) == {"data": 2, "draft": 8, "model": 1}


def test_a_shape_that_does_not_exist_is_refused():
    with pytest.raises(UserError, match="--topology v5e:3x5"):
        describe("v5e:3x5")
