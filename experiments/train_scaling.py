"""Training throughput of a teacher on 1, 2, 4, 8 devices of one host, beside what was to be expected.

    python experiments/train_scaling.py --smoke         a tiny network on virtual CPU devices: that it runs
    python experiments/train_scaling.py                 DiT-B/2 on latents of 64×64×4, 32 and 64 images a device
    python experiments/train_scaling.py --network=dit-xl/2 --batch=8 --layouts=fsdp

Every device has the same number of images, so with t_n the milliseconds of an update on n devices, the efficiency is

    E_n = t_1 / t_n,                                                                                                 (1)

and n E_n is the throughput over that of one device. Before anything is trained on n devices, a sum of an array of
the gradient's size over them takes c_n; were it never hidden behind the backward pass,

    E_n = t_1 / (t_1 + c_n),                                                                                         (2)

which is ``predicted``. Layouts are those of `drf_jax.sharding.LAYOUTS`. Batches are random and on the devices already,
so this is the update alone: see ``data_seconds`` of a real run for its loader. The file, named after the device, is
written after every row.
"""

import dataclasses
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

if "--smoke" in sys.argv[1:] and __name__ == "__main__":  # before jax looks for devices
    os.environ["JAX_PLATFORMS"] = "cpu"
    virtual = " --xla_force_host_platform_device_count=8"
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + virtual

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from measuring import device_name, typed
from real_size import PROCESS, networks, on_this_device
from tqdm import tqdm

from drf_jax.cli.main import compilation_cache
from drf_jax.data.conditioning import null_cond, null_of
from drf_jax.evaluation.lines import Panel, line_figure
from drf_jax.evaluation.report import write_results
from drf_jax.flops import operations
from drf_jax.networks.dit import DiT
from drf_jax.networks.network import Backbone, DenoisingNetwork
from drf_jax.objectives.denoising import Denoising
from drf_jax.process.time import TIME_DISTRIBUTIONS
from drf_jax.process.weighting import WEIGHTINGS
from drf_jax.sharding import LAYOUTS, make_mesh, shard_batch
from drf_jax.training.optimizer import Optimizer, make_optimizer
from drf_jax.training.state import create_state, init_sharded
from drf_jax.training.step import jit_step, make_train_step
from drf_jax.training.utilisation import peak_flops
from drf_jax.turns import compiling, turn

ROOT = Path(__file__).resolve().parents[1]
TINY = DiT(channels=4, patch=2, width=64, depth=2, heads=4, num_classes=10)
WARM_UP = 3
Entry = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Teacher:
    """What is trained: a network of published size on latents, ``batch`` of them on every device."""

    name: str
    backbone: Backbone
    shape: tuple[int, ...]
    batch: int

    def objective(self) -> Denoising:
        weighting, times = WEIGHTINGS["v"], TIME_DISTRIBUTIONS["stratified"]
        network, null = DenoisingNetwork(self.backbone), null_of(self.backbone)
        return Denoising(network, PROCESS, "v", weighting, times, 0.1, null)

    def init(self, key: jax.Array) -> Any:
        args = jnp.zeros((1, *self.shape)), jnp.zeros(1), null_cond(self.backbone, 1)
        return DenoisingNetwork(self.backbone).init(key, *args)["params"]

    def examples(self, devices: int) -> dict[str, Any]:
        b, rng = self.batch * devices, np.random.default_rng(0)
        x0 = rng.standard_normal((b, *self.shape), np.float32)
        return {"x0": x0, "cond": jax.device_get(null_cond(self.backbone, b))}


def mesh_of(devices: int) -> Mesh:
    return make_mesh(devices, devices=jax.devices()[:devices])


def milliseconds(run: Callable[[], Any], repeats: int) -> np.ndarray:
    """Of each of ``repeats`` calls of ``run``, which returns arrays to wait for, after some that are not timed."""
    seconds = []
    for _ in range(WARM_UP + repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    return 1e3 * np.array(seconds[WARM_UP:])


def sum_over(devices: int, entries: int, repeats: int) -> float:
    """c_n of (2): milliseconds of an all-reduce of ``entries`` float32 numbers."""
    mesh = mesh_of(devices)
    total = jax.shard_map(
        lambda x: jax.lax.psum(x, "data"), mesh=mesh, in_specs=P("data"), out_specs=P()
    )
    each = NamedSharding(mesh, P("data"))
    x = jax.jit(lambda: jnp.ones(devices * entries), out_shardings=each)()
    run = jax.jit(total).lower(x).compile()
    with turn():
        return float(np.median(milliseconds(lambda: run(x), repeats)))


def measure(teacher: Teacher, layout: str, devices: int, repeats: int) -> Entry:
    """The row of one layout on so many devices, without what needs the others."""
    mesh, optimizer = mesh_of(devices), make_optimizer(Optimizer(1e-4, "constant"), 10**6)
    state, shardings = init_sharded(
        lambda key: create_state(teacher.init(key), optimizer),
        mesh,
        LAYOUTS[layout],
        jax.random.key(0),
    )
    step = jit_step(make_train_step(teacher.objective(), optimizer), mesh, shardings)
    batch, key = shard_batch(teacher.examples(devices), mesh), jax.random.key(1)
    with jax.set_mesh(mesh):
        with compiling():
            flops = operations(step, state, None, batch, key)
            start = time.perf_counter()
            compiled = step.lower(state, None, batch, key).compile()
            compile_seconds = time.perf_counter() - start

        def update():
            nonlocal state
            state, metrics = compiled(state, None, batch, key)
            return metrics

        with turn():
            times = milliseconds(update, repeats)
    memory = compiled.memory_analysis()
    peak = peak_flops(jax.devices()[0])
    p50, p95 = np.percentile(times, [50, 95])
    return {
        "network": teacher.name,
        "layout": layout,
        "devices": devices,
        "batch": teacher.batch * devices,
        "params": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "images_per_second": 1e3 * teacher.batch * devices / float(p50),
        "mfu": peak and flops / (peak * devices * float(p50) / 1e3),
        "memory_bytes": memory.argument_size_in_bytes + memory.temp_size_in_bytes,
        "compile_seconds": compile_seconds,
    }


def measurements(
    teacher: Teacher, layouts: list[str], counts: list[int], repeats: int
) -> Iterator[Entry]:
    """A row on one device, then one of every layout for each number of devices, after its prediction."""
    one = measure(teacher, layouts[0], 1, repeats)
    yield one
    for n in counts:
        c_n = sum_over(n, one["params"], repeats)
        predicted = one["p50_ms"] / (one["p50_ms"] + c_n)
        for layout in layouts:
            made = measure(teacher, layout, n, repeats)
            efficiency = one["p50_ms"] / made["p50_ms"]
            yield made | {"sum_ms": c_n, "predicted": predicted, "efficiency": efficiency}


def told(r: Entry) -> str:
    """One line of a row."""
    line = (
        f"{r['network']}, {r['layout']}, {r['devices']} devices, {r['batch']} images: {r['p50_ms']:.1f} ms"
        f" (p95 {r['p95_ms']:.1f}), {r['images_per_second']:.0f} images/s, {r['memory_bytes'] / 2**30:.1f} GiB a device"
    )
    if r["mfu"]:
        line += f", MFU {r['mfu']:.2f}"
    if "efficiency" in r:
        line += f", efficiency {r['efficiency']:.3f}, predicted {r['predicted']:.3f}"
    return line


def figure(path: Path, rows: list[Entry]) -> None:
    lines: dict[str, list[tuple[float, float]]] = {}
    for r in rows:
        if r["devices"] > 1:
            name = f"{r['network']}, {r['layout']}, {r['batch'] // r['devices']} images a device"
            line = lines.setdefault(name, [(1, 1.0)])
            line.append((r["devices"], r["devices"] * r["efficiency"]))
    ideal = [(1, 1)] + [(r["devices"], r["devices"]) for r in rows if r["devices"] > 1]
    if lines:
        panel = Panel("training", "devices", "throughput over one device", lines, {"ideal": ideal})
        line_figure(path, [panel])


def main(
    teachers: list[Teacher],
    layouts: list[str],
    counts: list[int],
    repeats: int,
    out: Path,
    name: str,
) -> None:
    path, rows = out / "results" / f"{name}.json", []
    config = {"repeats": repeats, "shape": teachers[0].shape}
    config |= {"dtype": teachers[0].backbone.dtype, "xla_flags": os.environ.get("XLA_FLAGS", "")}
    command, counts = typed(sys.argv), [n for n in counts if n > 1]
    made = (row for each in teachers for row in measurements(each, layouts, counts, repeats))
    for row in tqdm(made, unit="row", total=len(teachers) * (1 + len(layouts) * len(counts))):
        rows.append(row)
        write_results(path, [], config, command, {"updates": rows})
    figure(out / "docs" / "pictures" / f"{name}.png", rows)
    print("\n".join(map(told, rows)))


if __name__ == "__main__":
    flags.DEFINE_boolean("smoke", False, "a tiny network on 8 virtual CPU devices")
    flags.DEFINE_string("network", "dit-b/2", "of published size")
    flags.DEFINE_integer("pixels", 512, "side of the images; that of the latents is an eighth")
    flags.DEFINE_list("batch", "32,64", "images on every device")
    flags.DEFINE_list("layouts", "replicate,fsdp", ", ".join(LAYOUTS))
    flags.DEFINE_list("devices", "1,2,4,8", "numbers of devices; those there are")
    flags.DEFINE_string("dtype", "bfloat16", "of the network")
    flags.DEFINE_string("attention", "auto", "backend: xla, cudnn, or auto")
    flags.DEFINE_integer("repeats", 0, "repetitions; 0: 3 with --smoke, 30 without")
    flags.DEFINE_string("out", str(ROOT), "folder that gets results/ and docs/pictures/")
    f = flags.FLAGS

    def run(_):
        compilation_cache()
        chosen = {"tiny": TINY} if f.smoke else networks([f.network])
        [(name, backbone)] = chosen.items()
        dtype = "float32" if f.smoke else f.dtype
        backbone = on_this_device(dataclasses.replace(backbone, dtype=dtype), f.attention)
        side = (128 if f.smoke else f.pixels) // 8
        batches = [2] if f.smoke else map(int, f.batch)
        teachers = [Teacher(name, backbone, (side, side, 4), batch) for batch in batches]
        counts = [n for n in map(int, f.devices) if n <= jax.device_count()]
        file = "train_scaling_" + ("smoke" if f.smoke else device_name())
        main(teachers, f.layouts, counts, f.repeats or (3 if f.smoke else 30), Path(f.out), file)

    logging.set_verbosity(logging.WARNING)
    app.run(run)
