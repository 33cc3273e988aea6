"""Real time at real size: latency, throughput, start-up, memory and utilisation of whole samplers.

    python experiments/latency.py --smoke            a minute on 2 CPU cores: the tables of experiments/loops.py
    python experiments/latency.py                    published sizes, on an accelerator
    python experiments/latency.py --networks=dit-xl/2 --pixels=512 --attention=auto --decoder --deadline=540
    python experiments/latency.py --config=configs/emoji64.py:captions,bf16 --methods=learned,ddim-48,driffusion-*-4

The last times a config's network (``--config`` may be repeated); its ``evaluate.methods`` are chosen by name. Its data
need not be there.

Weights are random, which changes no latency (``weights`` says so in every row). Latents have an eighth of ``pixels``
and 4 channels; ``--decoder`` adds Stable Diffusion's decoder to every sampler.

    ``rows``    samplers: the learned system with rounds of 5 drafts (2 rounds: 4 sequential calls, 12 evaluations; its
                networks take the guidance weight as an input, so guidance is one call), training-free draft–refine in
                both modes with K drafts, serial DDIM.
    ``calls``   one network call of 1 … B states, and one of the decoder: milliseconds, states a second, MFU, and
                ``over_one``, its time over that of one state. B states in one call are B drafts.
    ``fits``    exponents of milliseconds: of a call in the image's side and in its states (drafts), of the learned
                system in its sequential calls (rounds), of all samplers in their batch.

The file is written after every measurement. ``--deadline`` starts no measurement that may end after so many seconds,
``--resume`` goes on with the file of an earlier call. Compiled programs are kept where the command line keeps them;
``compile_seconds`` is left out where that had the program already. The table is printed last.
"""

import collections
import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import loops
import numpy as np
from absl import app, flags, logging
from measuring import Entry, Job, device_name, measure_all, typed
from real_size import METHODS, Make, Plan, Subject, config_subject, networks, subjects

from drf_jax.cli.main import compilation_cache
from drf_jax.errors import UserError
from drf_jax.evaluation.latency import latency
from drf_jax.evaluation.lines import Panel, line_figure
from drf_jax.evaluation.program import compile_program, matrix_rate, operations
from drf_jax.evaluation.report import (
    family,
    markdown_table,
    read_results,
    row,
    with_circumstances,
    write_results,
)
from drf_jax.networks.autoencoder import Autoencoder
from drf_jax.sampling.loops import COMPILED

ROOT = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Effort:
    """Repetitions of a timed call, and whether to time a second start."""

    repeats: int
    warm: bool = True


def measured(fn: Callable, args: tuple, x: jax.Array, rest: tuple, effort: Effort) -> Entry:
    """Time ``fn(*args, x, *rest)`` with new x each time; x is a batch of states."""
    program = compile_program(fn, *args, x, *rest, warm=effort.warm)
    times = latency(lambda x: program.run(*args, x, *rest), x, repeats=effort.repeats)
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


def sampler_job(subject: Subject, name: str, make: Make, batch: int, effort: Effort) -> Job:
    method = make(COMPILED)
    of = {
        "network": subject.name,
        "attention": subject.backbone.attention_backend,
        "resolution": subject.pixels,
        "guidance": subject.guidance,
        "decoder": None if subject.space is None else "autoencoder",
        "method": method.name,
        "cross_draft": subject.cross_draft if method.mode == "learned" else None,
        "batch": batch,
        "xla_flags": os.environ.get("XLA_FLAGS"),
    }

    def measure():
        noise, *rest = subject.inputs(batch, told=method.mode == "learned")
        entry = measured(images, (method.sampler, subject.space), noise, rest, effort)
        plain = subject.counted[name](COMPILED).sampler
        count = operations(images, plain, subject.space, noise, *rest)
        return row(
            **of,
            dataset="random",
            weights="random",
            mode=method.mode,
            sequential_calls=method.sequential_calls,
            network_evaluations=method.network_evaluations,
            drafts=method.drafts,
            params=parameters((method.sampler, subject.space)),
            mfu=utilisation(count, entry, subject.backbone.dtype),
            **entry,
        )

    return Job("rows", of, measure)


def call_job(subject: Subject, batch: int, effort: Effort) -> Job:
    of = {
        "network": subject.name,
        "attention": subject.backbone.attention_backend,
        "resolution": subject.pixels,
        "batch": batch,
    }

    def call(denoiser, x, cond):
        return denoiser(x, jnp.full(len(x), 0.5), cond)

    def measure():
        x, _, cond = subject.inputs(batch)
        entry = measured(call, (subject.denoiser,), x, (cond,), effort)
        count = operations(call, subject.plain(), x, cond)
        mfu = utilisation(count, entry, subject.backbone.dtype)
        return of | entry | {"mfu": mfu, "params": parameters(subject.denoiser)}

    return Job("calls", of, measure)


def decoder_job(subject: Subject, effort: Effort) -> Job:
    of = {"network": "decoder", "attention": "xla", "resolution": subject.pixels, "batch": 1}

    def measure():
        decode = lambda space, z: space.decode(z)
        z, *_ = subject.inputs(1)
        entry = measured(decode, (subject.space,), z, (), effort)
        mfu = utilisation(operations(decode, subject.space, z), entry, subject.space.net.dtype)
        return of | entry | {"mfu": mfu, "params": parameters(subject.space)}

    return Job("calls", of, measure)


def jobs(
    todo: Iterable[Subject], batches: list[int], call_batches: list[int], effort: Effort
) -> Iterator[Job]:
    """All samplers of a subject, then its network calls, once for all its guidance weights."""
    called = set()
    for subject in todo:
        for batch in batches:
            for name, make in subject.makers.items():
                yield sampler_job(subject, name, make, batch, effort)
        if (subject.name, subject.pixels) not in called:
            called.add((subject.name, subject.pixels))
            for batch in call_batches:
                yield call_job(subject, batch, effort)
            if subject.space is not None:
                yield decoder_job(subject, effort)


def exponents(entries: list[Entry], of: str, same: tuple[str, ...]) -> list[Entry]:
    """Slopes of log milliseconds in log ``of`` among entries with the ``same`` values, where there are two or more."""
    groups = collections.defaultdict(list)
    for e in entries:
        groups[tuple(e.get(key) for key in same)].append((e[of], e["p50_ms"]))
    return [
        dict(zip(same, fixed, strict=True)) | {"of": of, "exponent": float(slope)}
        for fixed, points in groups.items()
        if len(dict(points)) > 1
        for slope, _ in [np.polyfit(*np.log(np.array(points)).T, 1)]
    ]


def fits(rows: list[Entry], calls: list[Entry]) -> list[Entry]:
    network, sampler = ("network", "attention"), ("network", "attention", "resolution", "guidance")
    learned = [r for r in rows if r.get("mode") == "learned"]
    return [
        *exponents(calls, "batch", (*network, "resolution")),
        *exponents(calls, "resolution", (*network, "batch")),
        *exponents(learned, "sequential_calls", (*sampler, "batch")),
        *exponents(rows, "batch", (*sampler, "method")),
    ]


def over_one(calls: list[Entry]) -> list[Entry]:
    """The calls, each with its time over that of the same network's call of one state."""
    key = lambda c: (c["network"], c["attention"], c["resolution"])
    one = {key(c): c["p50_ms"] for c in calls if c["batch"] == 1}
    return [c | {"over_one": c["p50_ms"] / one[key(c)]} if key(c) in one else c for c in calls]


def figure(path: Path, rows: list[Entry], calls: list[Entry]) -> None:
    whole, single = collections.defaultdict(list), collections.defaultdict(list)
    least, most = min(r["batch"] for r in rows), max(r.get("guidance", 1.0) for r in rows)
    for r in rows:
        if r["batch"] == least and r.get("guidance", 1.0) == most:
            name = f"{r['network']} {r['resolution']}, {family(r['method'])}, {r['attention']}"
            whole[name].append((r["sequential_calls"], r["p50_ms"]))
    for c in calls:
        single[f"{c['network']} {c['resolution']}, {c['attention']}"].append(
            (c["batch"], c["p50_ms"])
        )
    panels = [
        Panel(f"samplers, guidance {most:g}", "sequential network calls", "ms", whole),
        Panel("one network call", "states in the call", "ms", single),
    ]
    line_figure(path, [panel for panel in panels if panel.lines])


COLUMNS = {
    "network": "network",
    "attention": "attention",
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
    "memory_bytes": "bytes",
}


def main(
    work: Iterable[Job], out: Path, config: Entry, command: str, deadline: float, resume: bool
) -> None:
    """Measure, saving after every measurement, and print the table."""
    device = device_name()
    path = out / "results" / f"latency_{device}.json"
    tables: dict[str, list[Entry]] = {"rows": [], "calls": []}
    if resume and path.exists():
        found = read_results(path)
        tables = {"rows": with_circumstances(found), "calls": found.get("calls", [])}
    rows, calls = tables["rows"], tables["calls"]

    def save():
        facts = {"calls": over_one(calls), "fits": fits(rows, calls)}
        facts["matrix_rate"] = matrix_rate(config["dtype"])
        write_results(path, rows, config, command, facts)

    measure_all(work, tables, save, deadline)
    figure(out / "docs" / "pictures" / f"latency_{device}.png", rows, calls)
    for c in over_one(calls):
        ratio = f", {c['over_one']:.2f} of one" if "over_one" in c else ""
        print(
            f"{c['network']} {c['resolution']} px, {c['attention']}, {c['batch']:2d} states in a call: "
            f"{c['p50_ms']:.2f} ms{ratio}, MFU {c['mfu']:.2f}"
        )
    for fit in fits(rows, calls):
        print(" ".join(f"{key}={value}" for key, value in fit.items()))
    print(markdown_table(rows, COLUMNS))


if __name__ == "__main__":
    flags.DEFINE_boolean("smoke", False, "the small networks of experiments/loops.py")
    flags.DEFINE_multi_string("config", [], "configs instead of published sizes; may be repeated")
    flags.DEFINE_list("networks", "dit-xl/2,dit-l/2,dit-b/2,sd-unet", "published sizes")
    flags.DEFINE_list("pixels", "512,1024", "sides of the images")
    flags.DEFINE_list("guidance", "4,1", "weights; 1 is none")
    flags.DEFINE_list(
        "methods", "", "most wanted first: families, or names of a config's samplers; empty: all"
    )
    flags.DEFINE_list("rounds", "2", "of the learned system; two sequential calls each")
    flags.DEFINE_list("drafts", "4", "K of the training-free samplers")
    flags.DEFINE_integer("steps", 50, "of the grid of DDIM and of the training-free samplers")
    flags.DEFINE_list("batches", "1", "images in a call of a sampler")
    flags.DEFINE_list("call_batches", "1,2,4,8,16", "states in a network call")
    flags.DEFINE_boolean("decoder", False, "time the decoder with every sampler")
    flags.DEFINE_string("dtype", "bfloat16", "of the networks of published size")
    flags.DEFINE_string("attention", "xla", "backend: xla, cudnn, or auto")
    flags.DEFINE_string(
        "cross_draft", "every_block", "of the learned system, as config.method has it"
    )
    flags.DEFINE_integer("cross_draft_width", 0, "the same; 0: that of the feature map")
    flags.DEFINE_integer("repeats", 0, "repetitions; 0: 30 with --smoke, 100 without")
    flags.DEFINE_boolean("warm", True, "time a second start, from the cache of programs")
    flags.DEFINE_float("deadline", 0, "seconds in which to end; 0: no limit")
    flags.DEFINE_boolean("resume", False, "keep what the results file has")
    flags.DEFINE_string("out", str(ROOT), "folder that gets results/ and docs/pictures/")
    f = flags.FLAGS
    command = typed(sys.argv)
    numbers = lambda values, kind=int: tuple(map(kind, values))

    def run(_):
        repeats, out = f.repeats or (30 if f.smoke else 100), Path(f.out)
        if f.smoke:
            config = {"smoke": True, "repeats": repeats}
            return loops.main(loops.subjects(), repeats, out, config, command)
        compilation_cache()
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        plan = Plan(
            networks=networks(f.networks),
            pixels=numbers(f.pixels),
            guidance=numbers(f.guidance, float),
            methods=tuple(f.methods) or (("*",) if f.config else METHODS),
            rounds=numbers(f.rounds),
            drafts=numbers(f.drafts),
            steps=f.steps,
            autoencoder=Autoencoder(dtype=f.dtype) if f.decoder else None,
            dtype=f.dtype,
            attention=f.attention,
            cross_draft=f.cross_draft,
            cross_draft_width=f.cross_draft_width,
        )
        todo = (config_subject(path, plan) for path in f.config) if f.config else subjects(plan)
        effort = Effort(repeats, f.warm)
        work = jobs(todo, numbers(f.batches), numbers(f.call_batches), effort)
        config = dataclasses.asdict(plan) | {"repeats": repeats, "config": f.config}
        return main(work, out, config, command, f.deadline, f.resume)

    def told(argv):
        try:
            return run(argv)
        except UserError as error:
            sys.exit(f"latency: {error}")

    logging.set_verbosity(logging.WARNING)
    app.run(told)
