"""Experiments are scripts that import their neighbours: load one as a module, as Python would run it."""

import importlib.util
import sys
from pathlib import Path

import jax
import pytest

from drf_jax import build
from drf_jax.config import plain
from drf_jax.configs import digits
from drf_jax.denoiser import Denoiser
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.runs.teacher import Teacher

FOLDER = Path(__file__).resolve().parents[2] / "experiments"


@pytest.fixture(scope="module")
def experiment():
    """``experiment(name)``: the module of ``experiments/<name>.py``, forgotten after the tests of the file."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))

    def load(name):
        spec = importlib.util.spec_from_file_location(f"{name}_experiment", FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    yield load
    sys.path.remove(str(FOLDER))
    own = {path.stem for path in FOLDER.glob("*.py")}
    for name in set(sys.modules) - before:
        if name in own or name.endswith("_experiment"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def rivals(experiment):
    return experiment("rivals")


@pytest.fixture
def options(rivals, tmp_path):
    return rivals.Options(data="digits", seconds=2.0, smoke=True, out=tmp_path, runs=tmp_path / "r")


@pytest.fixture(scope="module")
def small_bench(experiment, untrained_teacher, tmp_path_factory):
    """``small_bench(seed)``: what rows of an experiment share, 12 samples and FD."""

    def make(seed=0):
        folder = tmp_path_factory.mktemp("run") / "kept"
        folder.mkdir()
        config = untrained_teacher.config["evaluate"] | {"samples": 12, "batch_size": 8}
        config |= {"metrics": ("fd",), "feature_steps": 4}
        spec = build.evaluate({"evaluate": config})
        return experiment("bench").Bench(untrained_teacher, spec, folder, seed)

    return make


@pytest.fixture(scope="session")
def untrained_teacher():
    """A teacher of the digits, 6 steps, whose network predicts something all the same: it tells samplers apart."""
    config = digits.get_config()
    config.network = {"name": "dit", "width": 8, "depth": 1, "heads": 2}
    config.sampler.steps = 6
    data = build.source(config)
    network = DenoisingNetwork(build.backbone(config, data))
    leaves, tree = jax.tree.flatten(build.init_teacher(network, data, jax.random.key(0)))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    # The head starts at zero.
    moved = [p + 0.3 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)]
    denoiser = Denoiser(jax.tree.unflatten(tree, moved), network, build.process(config), "v")
    return Teacher(plain(config), data, network, denoiser, "untrained")
