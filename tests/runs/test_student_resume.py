"""A student's run that is killed before the objective changes, and resumed, is the uninterrupted one."""

import json
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from drf_jax.configs import digits_learned
from drf_jax.runs import distil
from drf_jax.runs.distillation import stage
from drf_jax.training.metrics import is_timing


def state(workdir):
    """The last checkpoint: every leaf of the training state by its path."""
    with ocp.StandardCheckpointer() as reader:
        tree = reader.restore(workdir / "checkpoints" / "10" / "default")
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def curve(workdir):
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [{name: line[name] for name in line if not is_timing(name)} for line in lines]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_killed_before_the_switch_and_resumed_is_the_uninterrupted_run(
    demo, tmp_path, monkeypatch, quick_compile
):
    config = digits_learned.get_config("calls=4,smoke")
    config.teacher = str(demo / "teacher")
    config.train.checkpoint_every = 1
    assert (config.method.on_policy_after, config.train.steps) == (5, 10)
    for name in ("trajectories.npy", "trajectories.json"):
        shutil.copy(demo / "learned-4" / name, tmp_path / name)

    compiled, asked = [], iter(range(4))

    def jit_step(*args, original=distil.jit_step):
        """The two steps of the first run again: they are the same programs."""
        i = next(asked)
        if i < 2:
            compiled.append(original(*args))
        return compiled[i % 2]

    def dies(source, batch_size, seed, original=stage.trajectory_batches):
        batches = original(source, batch_size, seed)

        def batch(i):
            if i == 3:
                raise RuntimeError("power cut")
            return batches(i)

        return batch

    monkeypatch.setattr(distil, "jit_step", jit_step)
    with quick_compile():
        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
            patch.setattr(stage, "trajectory_batches", dies)
            distil.train_distilled(config, tmp_path)
        saved = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
        assert saved == ["2", "3"]
        distil.train_distilled(config, tmp_path)

    ours, whole = state(tmp_path), state(demo / "learned-4")
    assert ours.keys() == whole.keys() and len(ours) > 100
    for name in whole:
        np.testing.assert_array_equal(ours[name], whole[name], err_msg=name)
    assert curve(tmp_path) == curve(demo / "learned-4")
    assert [line["step"] for line in curve(tmp_path)] == [5, 10]
