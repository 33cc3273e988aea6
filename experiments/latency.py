"""Real time at real size: latency, throughput, start-up, memory and utilisation of whole samplers.

    python experiments/latency.py --smoke            a minute on 2 CPU cores: the tables of experiments/loops.py
    python experiments/latency.py                    published sizes, on an accelerator
    python experiments/latency.py --networks=dit-xl/2 --pixels=512 --guidance=4 --decoder --minutes=8
    python experiments/latency.py --config=configs/digits.py      a config's network and its evaluate.methods

Weights are random, which changes no latency (``weights`` says so in every row). Latents have an eighth of ``pixels``
and 4 channels; ``--decoder`` adds Stable Diffusion's decoder to every sampler.

    ``rows``    samplers: the learned system with 4 sequential calls and 12 evaluations (2 rounds of 5 drafts; its
                networks take the guidance weight as an input, so guidance is one call), training-free draft–refine in
                both modes with K drafts, serial DDIM.
    ``calls``   one network call of 1 … B states: milliseconds, states a second, MFU. B states in one call are the
                parallel evaluation of B drafts.
    ``fits``    exponents of a call's milliseconds in the image's side and in its states.

The file is written after every measurement. ``--minutes`` starts no new measurement after that time, ``--resume`` goes
on with the file of an earlier call. Compiled programs are kept where the command line keeps them; ``compile_seconds``
is left out where that had the program already. The table is printed last.
"""

import collections
import dataclasses
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import loops
import numpy as np
from absl import app, flags, logging
from real_size import METHODS, Make, Plan, Subject, config_subject, networks, subjects
from tqdm import tqdm

from drf_jax.cli.main import compilation_cache
from drf_jax.evaluation.latency import latency
from drf_jax.evaluation.lines import Panel, line_figure
from drf_jax.evaluation.program import compile_program, matrix_rate, operations
from drf_jax.evaluation.report import family, markdown_table, read_results, row, write_results
from drf_jax.networks.autoencoder import Autoencoder
from drf_jax.sampling.loops import COMPILED, PYTHON

ROOT = Path(__file__).resolve().parents[1]
ROW_OF = ("network", "resolution", "guidance", "decoder", "method", "batch")
CALL_OF = ("network", "resolution", "batch")

Entry = dict[str, Any]
Job = tuple[str, tuple[str, ...], Entry, Callable[[], Entry]]
"""Table, the keys that tell its entries apart, those of this one, and what measures it."""


def measured(fn: Callable, args: tuple, x: jax.Array, rest: tuple, repeats: int) -> Entry:
    """Time ``fn(*args, x, *rest)`` with new x each time; x is a batch of states."""
    program = compile_program(fn, *args, x, *rest)
    times = latency(lambda x: program.run(*args, x, *rest), x, repeats=repeats)
    return {
        **times,
        "images_per_second": 1e3 * len(x) / times["p50_ms"],
        "compile_seconds": program.compile_seconds,
        "warm_seconds": program.warm_seconds,
        "memory_bytes": program.memory_bytes,
    }


def utilisation(operations: float, entry: Entry, dtype: str) -> float:
    return 1e3 * operations / entry["p50_ms"] / matrix_rate(dtype)


def parameters(tree: Any) -> int:
    """Numbers in all different arrays of a tree."""
    return sum({id(leaf): leaf.size for leaf in jax.tree.leaves(tree)}.values())


def images(sampler, space, noise, keys, cond):
    """What a row times: a sampler, and the decoder if there is one."""
    x = sampler(noise, keys, cond)
    return x if space is None else space.decode(x)


def sampler_job(subject: Subject, make: Make, batch: int, repeats: int) -> Job:
    method = make(COMPILED)
    of = {
        "network": subject.name,
        "resolution": subject.pixels,
        "guidance": subject.guidance,
        "decoder": None if subject.space is None else "autoencoder",
        "method": method.name,
        "batch": batch,
    }

    def measure():
        noise, *rest = subject.inputs(batch, told=method.mode == "learned")
        entry = measured(images, (method.sampler, subject.space), noise, rest, repeats)
        unrolled = operations(images, make(PYTHON).sampler, subject.space, noise, *rest)
        return row(
            **of,
            dataset="random",
            weights="random",
            mode=method.mode,
            sequential_calls=method.sequential_calls,
            network_evaluations=method.network_evaluations,
            drafts=method.drafts,
            params=parameters((method.sampler, subject.space)),
            mfu=utilisation(unrolled, entry, subject.backbone.dtype),
            **entry,
        )

    return "rows", ROW_OF, of, measure


def call_job(subject: Subject, batch: int, repeats: int) -> Job:
    of = {"network": subject.name, "resolution": subject.pixels, "batch": batch}

    def call(denoiser, x, cond):
        return denoiser(x, jnp.full(len(x), 0.5), cond)

    def measure():
        x, _, cond = subject.inputs(batch)
        entry = measured(call, (subject.denoiser,), x, (cond,), repeats)
        count = operations(call, subject.denoiser, x, cond)
        mfu = utilisation(count, entry, subject.backbone.dtype)
        return of | entry | {"mfu": mfu, "params": parameters(subject.denoiser)}

    return "calls", CALL_OF, of, measure


def jobs(
    todo: Iterable[Subject], batches: list[int], call_batches: list[int], repeats: int
) -> Iterator[Job]:
    """All samplers of a subject, then its network calls, once for all its guidance weights."""
    called = set()
    for subject in todo:
        for batch in batches:
            for make in subject.makers.values():
                yield sampler_job(subject, make, batch, repeats)
        if (subject.name, subject.pixels) not in called:
            called.add((subject.name, subject.pixels))
            for batch in call_batches:
                yield call_job(subject, batch, repeats)


def exponents(calls: list[Entry], of: str, among: str) -> list[Entry]:
    """Slopes of log milliseconds in log ``of``, for each network and ``among``, where there are two points or more."""
    groups = collections.defaultdict(list)
    for c in calls:
        groups[c["network"], c[among]].append((c[of], c["p50_ms"]))
    return [
        {"network": network, among: fixed, "of": of, "exponent": float(slope)}
        for (network, fixed), points in groups.items()
        if len(dict(points)) > 1
        for slope, _ in [np.polyfit(*np.log(np.array(points)).T, 1)]
    ]


def figure(path: Path, rows: list[Entry], calls: list[Entry]) -> None:
    whole, single = collections.defaultdict(list), collections.defaultdict(list)
    for r in rows:
        if r["batch"] == min(other["batch"] for other in rows):
            name = f"{r['network']} {r['resolution']}, {family(r['method'])}"
            whole[name].append((r["sequential_calls"], r["p50_ms"]))
    for c in calls:
        single[f"{c['network']} {c['resolution']}"].append((c["batch"], c["p50_ms"]))
    panels = [
        Panel("samplers", "sequential network calls", "ms", whole),
        Panel("one network call", "states in the call", "ms", single),
    ]
    line_figure(path, [panel for panel in panels if panel.lines])


COLUMNS = {
    "network": "network",
    "resolution": "pixels",
    "guidance": "guidance",
    "method": "method",
    "network_evaluations": "evaluations",
    "batch": "batch",
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "images_per_second": "images/s",
    "mfu": "MFU",
    "compile_seconds": "compile s",
    "warm_seconds": "warm s",
}


def main(
    work: Iterable[Job], out: Path, config: Entry, command: str, minutes: float, resume: bool
) -> None:
    """Measure, saving after every measurement, and print the table."""
    device = "_".join(jax.devices()[0].device_kind.lower().split())
    path = out / "results" / f"latency_{device}.json"
    tables: dict[str, list[Entry]] = {"rows": [], "calls": []}
    if resume and path.exists():
        found = read_results(path)
        tables = {name: found.get(name, []) for name in tables}
    start = time.monotonic()
    with tqdm(work, unit=" measurements") as progress:
        for name, keys, of, measure in progress:
            known = {tuple(entry.get(key) for key in keys) for entry in tables[name]}
            if tuple(of.get(key) for key in keys) in known:
                continue
            if minutes and time.monotonic() - start > 60 * minutes:
                print(f"{minutes:g} minutes are over; --resume goes on", file=sys.stderr)
                break
            progress.set_postfix_str(" ".join(str(v) for v in of.values() if v is not None))
            tables[name].append(measure())
            calls = tables["calls"]
            fits = exponents(calls, "batch", "resolution") + exponents(calls, "resolution", "batch")
            facts = {"calls": calls, "fits": fits, "matrix_rate": matrix_rate(config["dtype"])}
            write_results(path, tables["rows"], config, command, facts)
    figure(out / "docs" / "pictures" / f"latency_{device}.png", *tables.values())
    for c in tables["calls"]:
        print(
            f"{c['network']} {c['resolution']} px, {c['batch']:2d} states in a call: "
            f"{c['p50_ms']:.2f} ms, MFU {c['mfu']:.2f}"
        )
    print(markdown_table(tables["rows"], COLUMNS))


if __name__ == "__main__":
    flags.DEFINE_boolean("smoke", False, "the small networks of experiments/loops.py")
    flags.DEFINE_string("config", "", "a config instead of published sizes")
    flags.DEFINE_list("networks", "dit-xl/2,dit-l/2,dit-b/2,sd-unet", "published sizes")
    flags.DEFINE_list("pixels", "512,1024", "sides of the images")
    flags.DEFINE_list("guidance", "4,1", "weights; 1 is none")
    flags.DEFINE_list("methods", list(METHODS), "families of samplers, most wanted first")
    flags.DEFINE_list("drafts", "4", "K of the training-free samplers")
    flags.DEFINE_integer("steps", 50, "of the grid of DDIM and of the training-free samplers")
    flags.DEFINE_list("batches", "1", "images in a call of a sampler")
    flags.DEFINE_list("call_batches", "1,2,4,8,16", "states in a network call")
    flags.DEFINE_boolean("decoder", False, "time the decoder with every sampler")
    flags.DEFINE_string("dtype", "bfloat16", "of the networks")
    flags.DEFINE_integer("repeats", 0, "repetitions; 0: 30 with --smoke, 100 without")
    flags.DEFINE_float("minutes", 0, "start no measurement after that time; 0: no limit")
    flags.DEFINE_boolean("resume", False, "keep what the results file has")
    flags.DEFINE_string("out", str(ROOT), "folder that gets results/ and docs/pictures/")
    f = flags.FLAGS
    typed = shlex.join(["python", "experiments/latency.py", *sys.argv[1:]])
    numbers = lambda values, kind=int: tuple(map(kind, values))

    def run(_):
        repeats, out = f.repeats or (30 if f.smoke else 100), Path(f.out)
        if f.smoke:
            config = {"smoke": True, "repeats": repeats}
            return loops.main(loops.subjects(), repeats, out, config, typed)
        compilation_cache()
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        plan = Plan(
            networks=networks(f.networks),
            pixels=numbers(f.pixels),
            guidance=numbers(f.guidance, float),
            methods=tuple(f.methods),
            drafts=numbers(f.drafts),
            steps=f.steps,
            autoencoder=Autoencoder(dtype=f.dtype) if f.decoder else None,
            dtype=f.dtype,
        )
        todo = [config_subject(f.config)] if f.config else subjects(plan)
        work = jobs(todo, numbers(f.batches), numbers(f.call_batches), repeats)
        config = dataclasses.asdict(plan) | {"repeats": repeats, "config": f.config}
        return main(work, out, config, typed, f.minutes, f.resume)

    logging.set_verbosity(logging.WARNING)
    app.run(run)
