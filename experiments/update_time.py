"""How long an update of a config takes on this machine, and in which kernels.

    python experiments/update_time.py --configs=configs/digits.py:smoke                        on a CPU
    python experiments/update_time.py --configs=configs/fashion_mnist32.py:bf16 --kernels=25
    python experiments/update_time.py --configs=configs/cifar10_distilled.py:method=lcm --teacher=configs/cifar10.py

The programs are those of ``drf plan`` (`drf_jax.plan.programs`), compiled for the devices that are there and run with
numbers that mean nothing: neither data nor a trained teacher are needed. ``--programs`` names some of them (``train``,
``on_policy``, ``stage-8``, ``sample``); all but ``sample`` unless given. ``--kernels`` traces a few calls with JAX's
profiler and prints where the devices' time went, by the kernels' names without their numbers. ``--set`` changes a
config, as dotted keys (``--set=network.width=64``; of a student's teacher ``--set=teacher.network.width=64``).
"""

import collections
import gzip
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging
from measuring import typed
from tqdm import tqdm

from drf_jax import build
from drf_jax.cli.config_file import load_config
from drf_jax.cli.main import compilation_cache
from drf_jax.config import changed
from drf_jax.errors import UserError
from drf_jax.evaluation.report import write_results
from drf_jax.flops import of_jaxpr
from drf_jax.plan.data import planned_data
from drf_jax.plan.program import Program
from drf_jax.plan.programs import programs
from drf_jax.sharding import make_mesh
from drf_jax.training.utilisation import peak_flops

ROOT = Path(__file__).resolve().parents[1]
TRACED = 5
"""Calls in a trace."""
Entry = dict[str, Any]


def programs_of(
    spec: str, teacher: str, changes: Mapping[str, Any]
) -> dict[str, Callable[[], Program]]:
    """The programs of a config on all devices, by name."""
    own = {key: value for key, value in changes.items() if not key.startswith("teacher.")}
    theirs = {
        key.removeprefix("teacher."): value for key, value in changes.items() if key not in own
    }
    config = changed(load_config(spec), own)
    taught = config if build.task(config) == "teacher" else changed(load_config(teacher), theirs)
    mesh = make_mesh(jax.device_count())
    return programs(config, planned_data(taught), mesh, taught, "")


def filled(compiled: jax.stages.Compiled) -> Any:
    """Arguments of a compiled program: small numbers, ones where integers are asked for, a key."""

    def fill(info, sharding):
        if jnp.issubdtype(info.dtype, jax.dtypes.prng_key):
            return jax.device_put(jax.random.key(0), sharding)
        if not jnp.issubdtype(info.dtype, jnp.floating):
            return jax.device_put(jnp.ones(info.shape, info.dtype), sharding)
        made = 0.02 * np.random.default_rng(0).standard_normal(info.shape, np.float32)
        return jax.device_put(made.astype(info.dtype), sharding)

    args, kwargs = jax.tree.map(fill, compiled.args_info, compiled.input_shardings)
    assert not kwargs
    return args


def measure(name: str, program: Program, repeats: int, kernels: int) -> Entry:
    """Milliseconds of a call at the config's batch; its state is handed on, as in a training."""
    traced = program.trace(program.batch)
    lowered = traced.lower()
    start = time.perf_counter()
    compiled = lowered.compile()
    compile_seconds = time.perf_counter() - start
    args = list(filled(compiled))
    updates = name != "sample"

    def call():
        out = compiled(*args)
        if updates:
            args[0] = out[0]
        return out

    seconds = []
    for _ in range(3 + repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    p50, p95 = 1e3 * np.percentile(seconds[3:], [50, 95])
    made = {"program": name, "batch": program.batch, "p50_ms": float(p50), "p95_ms": float(p95)}
    made["compile_seconds"] = compile_seconds
    # Not of XLA's analysis, which knows nothing of cuDNN's convolutions.
    flops, peak = of_jaxpr(traced.jaxpr.jaxpr), peak_flops(jax.devices()[0])
    made["tflop"] = flops / 1e12
    made["of_peak"] = peak and flops / (jax.device_count() * peak * p50 / 1e3)
    if kernels:
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                for _ in range(TRACED):
                    jax.block_until_ready(call())
            made["kernels"] = kernel_times(Path(folder), kernels)
    return made


def kernel_times(folder: Path, most: int) -> list[list[Any]]:
    """``[name, ms a call, kernels a call]`` of all kernels together, and of those that took most by their names."""
    total, count = collections.Counter(), collections.Counter()
    for file in folder.glob("**/*.trace.json.gz"):
        events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
        named = {}
        for e in events:
            if e.get("name") in ("process_name", "thread_name") and e["ph"] == "M":
                named[e["pid"], e.get("tid") if e["name"] == "thread_name" else None] = e["args"][
                    "name"
                ]
        for e in events:
            where = named.get((e.get("pid"), None), ""), named.get((e.get("pid"), e.get("tid")), "")
            if e.get("ph") == "X" and "/device:" in where[0] and "Stream" in where[1]:
                name = re.sub(r"[._]?\d+", "", e["name"])[:90]
                total[name] += e["dur"] / 1e3
                count[name] += 1
    each = TRACED * jax.device_count()
    listed = [("all kernels", total.total(), count.total())]
    listed += [(name, ms, count[name]) for name, ms in total.most_common(most)]
    return [[name, ms / each, number / each] for name, ms, number in listed]


def told(e: Entry) -> str:
    line = f"{e['config']} {e['program']}, batch {e['batch']}: {e['p50_ms']:.2f} ms (p95 {e['p95_ms']:.2f})"
    line += f", compiled in {e['compile_seconds']:.0f} s"
    if e.get("of_peak"):
        line += f", {e['tflop']:.3g} TFLOP, {e['of_peak']:.3f} of the peak"
    kernels = "".join(f"\n  {ms:8.3f} ms {n:6.1f} x {name}" for name, ms, n in e.get("kernels", ()))
    return line + kernels


def main(
    configs: list[str],
    teacher: str,
    wanted: list[str],
    changes: Mapping[str, Any],
    repeats: int,
    kernels: int,
    path: Path,
) -> None:
    made: list[Entry] = []
    for spec in tqdm(configs, unit="config"):
        every = programs_of(spec, teacher, changes)
        names = [name for name in wanted if name in every] or [n for n in every if n != "sample"]
        for name in names:
            entry = {"config": spec} | measure(name, every[name](), repeats, kernels)
            made.append(entry)
            print(told(entry), flush=True)
            facts = {"updates": made, "changes": dict(changes)}
            write_results(path, [], {"repeats": repeats}, typed(sys.argv), facts)


def change_of(text: str) -> tuple[str, Any]:
    """A dotted key and its value, a JSON one or else a string."""
    key, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set={text}: write KEY=VALUE")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


if __name__ == "__main__":
    flags.DEFINE_multi_string("configs", [], "as --config of drf train; may be repeated")
    flags.DEFINE_string("teacher", "", "config of the students' teacher")
    flags.DEFINE_list("programs", [], "some of the programs; all but sample unless given")
    flags.DEFINE_multi_string("set", [], "KEY=VALUE of the configs; may be repeated")
    flags.DEFINE_integer("repeats", 20, "timed calls")
    flags.DEFINE_integer("kernels", 0, "so many kernels to show; 0: no trace")
    flags.DEFINE_string("out", str(ROOT / "runs" / "update_time.json"), "results file")
    f = flags.FLAGS

    def run(_):
        compilation_cache()
        try:
            changes = dict(map(change_of, f.set))
            main(f.configs, f.teacher, f.programs, changes, f.repeats, f.kernels, Path(f.out))
        except UserError as error:
            sys.exit(f"update_time: {error}")

    logging.set_verbosity(logging.WARNING)
    app.run(run)
