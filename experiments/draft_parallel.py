"""One image on several devices: draft-parallel sampling against serial DDIM on one device.

    python experiments/draft_parallel.py --smoke      virtual CPU devices: that it runs, not how fast
    python experiments/draft_parallel.py              1, 2, 4, 8 devices of one host, as many as there are
    python experiments/draft_parallel.py --networks=dit-xl/2 --pixels=512 --steps=50 --minutes=8
    python experiments/draft_parallel.py --join=a.json,b.json     one table and figure of several results files

Several may run at a time with ``DRF_TURNS`` the name of a file: they compile side by side and take turns to measure.

The training-free sampler with one draft a device (K = n) in both modes, batch 1. The network calls alone would take, if
evaluations in parallel were free (`drf_jax.sampling.parallel`),

    conservative   (n + 1) / 2 times less than serial DDIM,      aggressive   n times less,                          (1)

and ``share_of_theory`` is the measured ``speedup`` over that. ``exchanged_bytes`` is what a device receives in a
round, ``memory_bytes`` what the program needs on each. Rows with ``devices`` = 1 and drafts evaluate the same drafts as
a batch on one device. Weights are random. All rows of a network and size come from one process; images are compared
with the one-device sampler's (``largest_difference`` in ``checks``). The file is written after every measurement;
``--minutes`` starts no new one after that time.
"""

import collections
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
from absl import app, flags, logging
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from measuring import typed
from real_size import Make, Plan, Subject, ddim, guided, networks, subjects, training_free
from tqdm import tqdm

from drf_jax.cli.main import compilation_cache
from drf_jax.evaluation.latency import latency
from drf_jax.evaluation.lines import Panel, line_figure
from drf_jax.evaluation.program import Program, compile_program
from drf_jax.evaluation.report import (
    markdown_table,
    read_results,
    row,
    with_circumstances,
    write_results,
)
from drf_jax.networks.dit import DiT
from drf_jax.sampling.loops import COMPILED
from drf_jax.sampling.method import Method
from drf_jax.sampling.parallel import bytes_per_round, draft_parallel
from drf_jax.sharding import make_mesh
from drf_jax.turns import compiling, turn

ROOT = Path(__file__).resolve().parents[1]
TINY = DiT(channels=4, patch=2, width=64, depth=2, heads=4, num_classes=10)

Entry = dict[str, Any]


def theory(mode: str, devices: int) -> float:
    """Equation (1)."""
    return (devices + 1) / 2 if mode == "conservative" else float(devices)


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A sampler of a subject, compiled for the first ``devices`` devices."""

    subject: Subject
    method: Method
    devices: int
    program: Program
    image: Callable[[jax.Array], jax.Array]
    noise: jax.Array

    def measure(self, repeats: int) -> tuple[Entry, jax.Array]:
        """Its row, and the image it makes of one fixed noise."""
        subject, method, exchanged = self.subject, self.method, None
        with turn():
            times = latency(self.image, self.noise, repeats=repeats)
            image = jnp.asarray(jax.device_get(self.image(self.noise)), jnp.float32)
        if self.devices > 1:
            exchanged = bytes_per_round(mesh_of(self.devices), method.drafts, subject.shape)
        made = row(
            dataset="random",
            weights="random",
            network=subject.name,
            attention=subject.backbone.attention_backend,
            resolution=subject.pixels,
            guidance=subject.guidance,
            method=method.name,
            mode=method.mode,
            sequential_calls=method.sequential_calls,
            network_evaluations=method.network_evaluations,
            drafts=method.drafts,
            devices=self.devices,
            batch=1,
            params=sum(leaf.size for leaf in jax.tree.leaves(subject.denoiser.params)),
            exchanged_bytes=exchanged,
            memory_bytes=self.program.memory_bytes,
            compile_seconds=self.program.compile_seconds,
            **times,
        )
        return made, image


def mesh_of(devices: int) -> Mesh:
    return make_mesh(1, devices, devices=jax.devices()[:devices])


def compiled(subject: Subject, make: Make, devices: int) -> Compiled:
    method, mesh = make(COMPILED), mesh_of(devices)
    everywhere = NamedSharding(mesh, P())
    sampler = draft_parallel(method.sampler, subject.denoiser.process, mesh)
    noise, *rest = jax.device_put(subject.inputs(1), everywhere)
    run = lambda sampler, noise, *rest: sampler(noise, *rest)
    program = compile_program(run, sampler, noise, *rest, warm=False)
    image = lambda noise: program.run(sampler, noise, *rest)
    return Compiled(subject, method, devices, program, image, noise)


def measurements(subject: Subject, steps: int, counts: list[int], repeats: int) -> Iterator[Entry]:
    """Serial DDIM, then each mode with K = n drafts: on one device as a batch, and on n devices.

    All is compiled first. Yields rows; one on several devices has the key ``largest_difference`` besides.
    """
    model = guided(subject.denoiser, subject.guidance)
    modes = [(n, mode) for n in counts for mode in ("conservative", "aggressive")]
    with compiling():
        reference = compiled(subject, ddim(model, steps), 1)
        ready = {}
        for n, mode in tqdm(modes, desc="compiling", disable=None):
            make = training_free(model, mode, steps, n)
            ready[n, mode] = [compiled(subject, make, devices) for devices in sorted({1, n})]
    serial, _ = reference.measure(repeats)
    yield serial
    for n, mode in modes:
        batched, alone = ready[n, mode][0].measure(repeats)
        batched["speedup"] = serial["p50_ms"] / batched["p50_ms"]
        yield batched
        for several in ready[n, mode][1:]:
            spread, image = several.measure(repeats)
            spread["speedup"] = serial["p50_ms"] / spread["p50_ms"]
            spread["share_of_theory"] = spread["speedup"] / theory(mode, n)
            yield spread | {"largest_difference": float(jnp.max(jnp.abs(image - alone)))}


def figure(path: Path, rows: list[Entry]) -> None:
    """Speed-up against devices, a panel for each mode."""
    steps = {r["command"]: r["sequential_calls"] for r in rows if not r["drafts"]}
    panels = []
    for mode in ("conservative", "aggressive"):
        lines = collections.defaultdict(list)
        for r in rows:
            if r.get("mode") == mode and "share_of_theory" in r:
                name = f"{r['network']}, {r['resolution']} px, {steps[r['command']]} steps"
                lines[name].append((r["devices"], r["speedup"]))
        counts = sorted({1, *(n for line in lines.values() for n, _ in line)})
        guides = {"evaluations free": [(n, theory(mode, n)) for n in counts]}
        lines = {name: sorted(line) for name, line in lines.items()}
        panels.append(Panel(mode, "devices", "speed-up over DDIM", lines, guides))
    if any(panel.lines for panel in panels):
        line_figure(path, panels)


COLUMNS = {
    "network": "network",
    "resolution": "pixels",
    "method": "method",
    "drafts": "drafts",
    "devices": "devices",
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "speedup": "speed-up",
    "share_of_theory": "share of theory",
    "exchanged_bytes": "bytes a round",
    "memory_bytes": "bytes a device",
}


def main(
    plan: Plan,
    steps: tuple[int, ...],
    counts: list[int],
    repeats: int,
    out: Path,
    command: str,
    minutes: float = 0,
    name: str = "draft_parallel",
) -> None:
    """Measure, saving after every measurement, and print the table."""
    start, rows, checks = time.monotonic(), [], []
    over = lambda: minutes and time.monotonic() - start > 60 * minutes
    config = dataclasses.asdict(plan) | {"steps": steps, "devices": counts, "repeats": repeats}
    path = out / "results" / f"{name}.json"
    work = (
        made for s in subjects(plan) for n in steps for made in measurements(s, n, counts, repeats)
    )
    with tqdm(work, unit=" measurements") as progress:
        for made in progress:
            if (difference := made.pop("largest_difference", None)) is not None:
                keys = ("network", "resolution", "method", "devices")
                checks.append({key: made[key] for key in keys} | {"largest_difference": difference})
            rows.append(made | {"command": command})
            progress.set_postfix_str(
                f"{made['method']} on {made['devices']}: {made['p50_ms']:.1f} ms"
            )
            write_results(path, rows, config, command, {"checks": checks})
            if over():
                print(f"{minutes:g} minutes are over", file=sys.stderr)
                break
    show(out / "docs" / "pictures" / f"{name}.png", rows, checks)


def join(files: list[Path], out: Path) -> None:
    """One results file of several; its command is all of theirs."""
    found = [read_results(file) for file in files]
    command = "; ".join(each["command"] for each in found)
    rows = [r for each in found for r in with_circumstances(each)]
    checks = [c for each in found for c in each["checks"]]
    config = {"joined": [each["config"] for each in found]}
    write_results(
        out / "results" / "draft_parallel.json", rows, config, command, {"checks": checks}
    )
    show(out / "docs" / "pictures" / "draft_parallel.png", rows, checks)


def show(picture: Path, rows: list[Entry], checks: list[Entry]) -> None:
    figure(picture, rows)
    for check in checks:
        print(
            f"{check['method']} on {check['devices']}: differs by {check['largest_difference']:.2g}"
        )
    print(markdown_table(rows, COLUMNS))


if __name__ == "__main__":
    flags.DEFINE_boolean("smoke", False, "a tiny network on 8 virtual CPU devices")
    flags.DEFINE_list("networks", "dit-xl/2,sd-unet", "published sizes")
    flags.DEFINE_list("pixels", "512,1024", "sides of the images")
    flags.DEFINE_list("steps", "48,50", "of the grids")
    flags.DEFINE_list("devices", "1,2,4,8", "numbers of devices; those there are")
    flags.DEFINE_list("guidance", "1", "weights; 1 is none")
    flags.DEFINE_string("dtype", "bfloat16", "of the networks")
    flags.DEFINE_string("attention", "auto", "backend: xla, cudnn, or auto")
    flags.DEFINE_integer("repeats", 0, "repetitions; 0: 3 with --smoke, 50 without")
    flags.DEFINE_float("minutes", 0, "start no measurement after that time; 0: no limit")
    flags.DEFINE_list("join", [], "results files to make one of")
    flags.DEFINE_string("out", str(ROOT), "folder that gets results/ and docs/pictures/")
    f = flags.FLAGS
    command = typed(sys.argv)

    def run(_):
        if f.join:
            return join(list(map(Path, f.join)), Path(f.out))
        compilation_cache()
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        numbers = lambda values, kind=int: tuple(map(kind, values))
        counts = [n for n in numbers(f.devices) if n <= jax.device_count()]
        chosen = {"tiny": TINY} if f.smoke else networks(f.networks)
        pixels = (128,) if f.smoke else numbers(f.pixels)
        dtype = "float32" if f.smoke else f.dtype
        plan = Plan(
            networks=chosen,
            pixels=pixels,
            guidance=numbers(f.guidance, float),
            dtype=dtype,
            attention=f.attention,
        )
        steps = (16,) if f.smoke else numbers(f.steps)
        repeats = f.repeats or (3 if f.smoke else 50)
        name = "draft_parallel_smoke" if f.smoke else "draft_parallel"
        return main(plan, steps, counts, repeats, Path(f.out), command, f.minutes, name)

    logging.set_verbosity(logging.WARNING)
    app.run(run)
