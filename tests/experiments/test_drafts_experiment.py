"""The experiment on the number of drafts, on an untrained teacher."""

import jax
import pytest

from drf_jax import build
from drf_jax.configs import digits
from drf_jax.denoiser import Denoiser
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.runs.teacher import Teacher


@pytest.fixture(scope="module")
def drafts(experiment):
    return experiment("drafts")


@pytest.fixture(scope="module")
def teacher():
    config = digits.get_config()
    config.network = {"name": "dit", "width": 8, "depth": 1, "heads": 2}
    config.sampler.steps = 6
    data = build.source(config)
    network = DenoisingNetwork(build.backbone(config, data))
    params = build.init_teacher(network, data, jax.random.key(0))
    # The head starts at zero; a network that predicts something tells the samplers apart.
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [p + 0.3 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)]
    denoiser = Denoiser(jax.tree.unflatten(tree, moved), network, build.process(config), "v")
    return Teacher(config, data, network, denoiser, "untrained")


@pytest.mark.slow
def test_every_combination_makes_the_calls_it_is_named_for(drafts, teacher):
    made = drafts.every_rounds(range(2, 8), (8, 4))
    assert len(made) == len(set(made)) == 2 * 5 * 6
    for rounds in made:
        method = rounds.method(teacher)
        assert method.sequential_calls == rounds.calls
        assert method.name == f"driffusion-{rounds.mode}-{rounds.calls}"
        first = rounds.calls // 2 if rounds.mode == "conservative" else 1
        parallel = rounds.calls - first
        assert method.network_evaluations == first + parallel * rounds.drafts


@pytest.mark.slow
def test_rows_hold_quality_and_forms(drafts, teacher, tmp_path):
    spec = build.Evaluate(samples=80, batch_size=80, feature_steps=2, real=100)
    mixed = drafts.Rounds("aggressive", 4, 2, "noise", "data")
    rows = drafts.experiment(teacher, [mixed], [6, 4], spec, tmp_path, seed=0)
    best, few, ours = rows
    assert best["method"] == "ddim-6" and best["rmse_to_teacher"] == 0 and "drafts" not in best
    assert 0 < ours["rmse_to_teacher"] < few["rmse_to_teacher"]
    assert (ours["form"], ours["draft_form"], ours["drafts"]) == ("noise", "data", 2)
    assert all(r["fd"] > 0 and r["samples"] == 80 for r in rows)
    drafts.draw(tmp_path / "drafts.png", rows, [4])
    assert (tmp_path / "drafts.png").exists()
