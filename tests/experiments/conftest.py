"""Experiments are scripts that import their neighbours: load one as a module, as Python would run it."""

import importlib.util
import sys
from pathlib import Path

import pytest

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
