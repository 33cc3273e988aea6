"""Students of the teacher's walk as the configs have them, not their ``smoke``: every network can be made."""

import jax
import pytest

from drf_jax import build
from drf_jax.configs import (
    cifar10,
    cifar10_distilled,
    emoji64,
    emoji64_distilled,
    fashion_mnist32,
    fashion_mnist32_distilled,
)
from drf_jax.configs.distilled import HYBRIDS
from drf_jax.data.shapes import Shapes
from drf_jax.denoiser import Denoiser
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.runs.budget import probe_changes
from drf_jax.runs.distil import stage_shapes, stages_of
from drf_jax.runs.distillation.rows import rows
from drf_jax.runs.teacher import Teacher

TEACHERS = {
    "cifar10": (cifar10, cifar10_distilled, "", Shapes((32, 32, 3), 10, name="cifar10")),
    "emoji64": (
        emoji64,
        emoji64_distilled,
        "captions",
        Shapes((64, 64, 3), 4, name="emoji64", caption_width=384),
    ),
    "fashion_mnist32": (
        fashion_mnist32,
        fashion_mnist32_distilled,
        "bf16",
        Shapes((32, 32, 1), 10, name="fashion_mnist32"),
    ),
}
METHODS = ["draft_refine", "draft_refine_aggressive", "draft_refine_anchored", "step"]


def teacher_of(data):
    teacher, _, arg, source = TEACHERS[data]
    config = teacher.get_config(arg)
    network = DenoisingNetwork(build.backbone(config, source))
    params = jax.eval_shape(lambda: build.init_teacher(network, source, jax.random.key(0)))
    denoiser = Denoiser(params, network, build.process(config), build.output(config))
    return Teacher(config, source, network, denoiser, "")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("data", TEACHERS)
def test_it_can_be_made(data, method):
    whole, distilled = teacher_of(data), TEACHERS[data][1]
    params = whole.denoiser.params
    _, stages = stages_of(distilled.get_config(f"method={method}"), whole)
    [shapes] = stage_shapes(stages, params)
    count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    assert count(shapes) >= count(params)


@pytest.mark.parametrize("method", HYBRIDS)
@pytest.mark.parametrize("data", TEACHERS)
def test_its_student_drafts_for_it_and_a_probe_has_all_rows_that_it_can(data, method):
    teacher, distilled = teacher_of(data), TEACHERS[data][1]
    config = distilled.get_config(f"method={method}")
    if method == "step":
        config.evaluate.hybrid.rounds = (config.method.steps,)
    for changes in ({}, probe_changes(config, 10)):
        config.update_from_flattened_dict(changes)
        setting, stages = stages_of(config, teacher)
        shapes, names = stage_shapes(stages, teacher.denoiser.params), []

        def made(params, config=config, setting=setting, stages=stages, names=names):
            names += [
                method.name for method, _ in rows(build.evaluate(config), setting, stages, params)
            ]
            return ()

        jax.eval_shape(made, shapes)
        assert names
        if not changes:
            hybrids = [name for name in names if name.startswith(f"{HYBRIDS[method]}-")]
            assert len(hybrids) == len(
                config.evaluate.hybrid.rounds + config.evaluate.hybrid.ended_by_student
            )
