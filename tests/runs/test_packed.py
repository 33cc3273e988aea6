"""A packed teacher is the teacher, or that teacher rounded to bfloat16, whatever the number of files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import build
from drf_jax.config import plain
from drf_jax.configs import digits
from drf_jax.errors import UserError
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.runs import packed
from drf_jax.runs.teacher import load_teacher
from drf_jax.training.checkpoint import Checkpoints
from drf_jax.training.state import TrainState
from drf_jax.workdir import claim


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with random averaged parameters."""
    workdir = tmp_path_factory.mktemp("packed") / "run"
    config = digits.get_config("smoke")
    config.network = {"name": "dit", "width": 8, "depth": 1, "heads": 2}
    data = build.source(config)
    network = DenoisingNetwork(build.backbone(config, data))
    shapes = jax.eval_shape(lambda: build.init_teacher(network, data, jax.random.key(0)))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), shapes)
    claim(workdir, plain(config))
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        checkpoints.save(20, TrainState(jnp.int32(20), params, params, {}))
    return workdir


@pytest.mark.parametrize("whole", [2**30, 0], ids=["float32", "bfloat16"])
def test_what_was_packed_comes_back(run, tmp_path, monkeypatch, whole):
    monkeypatch.setattr(packed, "WHOLE", whole)
    monkeypatch.setattr(packed, "LIMIT", 2**12)
    before = load_teacher(run)
    assert not packed.is_packed(tmp_path)
    packed.pack_teacher(run, tmp_path)
    assert packed.is_packed(tmp_path) and (tmp_path / "teacher-1.npz").exists()
    packed.unpack_teacher(tmp_path, tmp_path / "again")
    after = load_teacher(tmp_path / "again")
    assert after.config == before.config
    dtype = jnp.float32 if whole else jnp.bfloat16
    for a, b in zip(
        *map(jax.tree.leaves, (before.denoiser.params, after.denoiser.params)), strict=True
    ):
        np.testing.assert_array_equal(a.astype(dtype).astype(jnp.float32), b)
    assert (after.sha256 == before.sha256) == bool(whole)
    monkeypatch.undo()
    packed.pack_teacher(tmp_path / "again", tmp_path / "twice")
    packed.unpack_teacher(tmp_path / "twice", tmp_path / "third")
    assert load_teacher(tmp_path / "third").sha256 == after.sha256


def test_a_file_that_is_cut_off_is_named(run, tmp_path):
    packed.pack_teacher(run, tmp_path)
    file = tmp_path / "teacher-0.npz"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match="no whole packed teacher"):
        packed.unpack_teacher(tmp_path, tmp_path / "again")
