"""The suite runs on 8 virtual CPU devices; a single-device test uses ``jax.devices()[:1]``."""

import gc
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

COMPILE_QUICKLY = ["--xla_backend_optimization_level=0", "--xla_llvm_disable_expensive_passes=true"]
if version("jaxlib").startswith("0.10."):
    # More than half of the time that XLA takes for a small program on a CPU; later versions refuse the first flag.
    COMPILE_QUICKLY.append("--xla_cpu_use_fusion_emitters=false")
    COMPILE_QUICKLY.append("--xla_cpu_parallel_codegen_split_count=1")

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        *COMPILE_QUICKLY,
    ]
)

# Nobody asks here which line an operation comes from; and collecting a heap that only grows takes a tenth of the time.
os.environ["JAX_TRACEBACK_IN_LOCATIONS_LIMIT"] = "0"
gc.set_threshold(200_000, 20, 100)


def pytest_configure(config):
    """The workers and the commands under test share compiled programs, for as long as the suite runs."""
    if not hasattr(config, "workerinput"):
        config.compiled = tempfile.mkdtemp(prefix="drf_jax-compiled-")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = config.compiled
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def pytest_unconfigure(config):
    if hasattr(config, "compiled"):
        shutil.rmtree(config.compiled, ignore_errors=True)


def pytest_collection_modifyitems(items):
    """What uses the demo comes first, so that one worker makes it."""
    items.sort(key=lambda item: "demo" not in item.fixturenames)


def memory_maps() -> int:
    """How many mappings this process has; 0 where the kernel does not say."""
    try:
        with open("/proc/self/maps", "rb") as lines:
            return sum(1 for _ in lines)
    except OSError:
        return 0


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """Every compiled program keeps a few mappings, of which Linux gives a process 65,530; at the next it crashes."""
    yield
    if memory_maps() > 20_000:
        import jax

        jax.clear_caches()
        gc.collect()


TINY = {"width": 16, "depth": 1, "heads": 2}


@pytest.fixture(scope="session")
def quick_flags() -> str:
    """For XLA_FLAGS of a command with one device."""
    return " ".join(COMPILE_QUICKLY)


@pytest.fixture(scope="session")
def quick_compile():
    """A context in which XLA compiles quickly rather than well."""
    import contextlib

    import jax

    @contextlib.contextmanager
    def quick():
        jax.config.update("jax_disable_most_optimizations", True)
        try:
            yield
        finally:
            jax.config.update("jax_disable_most_optimizations", False)

    return quick


@pytest.fixture(scope="session")
def run_demo(quick_compile):
    """``run_demo(out)``: ``drf demo --arg smoke`` with tiny networks and the 4-call student only."""
    from drf_jax.cli.main import main
    from drf_jax.configs import digits
    from drf_jax.runs import demo

    def tiny(arg, get_config=digits.get_config):
        config = get_config(arg)
        config.network.update(TINY)
        config.evaluate.update(samples=32, batch_size=1, repeats=2, feature_steps=30)
        return config

    def run(out):
        with pytest.MonkeyPatch.context() as patch, quick_compile():
            patch.setattr(digits, "get_config", tiny)
            patch.setattr(demo, "CALLS", (4,))
            assert main(["demo", "--out", str(out), "--arg", "smoke"]) == 0

    return run


@pytest.fixture(scope="session")
def demo(tmp_path_factory, run_demo) -> Path:
    """The folder that ``run_demo`` made: ``teacher``, ``learned-4``, ``results.json``, pictures."""
    out = tmp_path_factory.mktemp("demo") / "runs"
    run_demo(out)
    return out
