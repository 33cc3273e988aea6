"""How soon the first image is there: seconds from networks in memory to it, in processes of their own.

    python experiments/start_up.py --smoke                                  a small network, a minute on a CPU
    python experiments/start_up.py --networks=dit-xl/2 --pixels=512 --attention=auto --decoder

    ``network-call``    one call of the network, of one state
    ``learned-4``       the learned system, 2 rounds of 5 drafts, and the decoder, if there is one, as one program
    ``learned-4-parts`` the same as a program each, compiled side by side (`drf_jax.sampling.parts`)

Each is started twice, first with an empty cache of programs, then with what that left. Weights are random, which
changes nothing. ``over_call`` are the first start's seconds over those of ``network-call``.

The file is written after every process; ``--deadline`` starts none that may end after so many seconds, ``--resume``
goes on with the file of an earlier call. Writes ``results/start_up_<device>.json`` and prints the table.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags, logging
from latency import images
from measuring import Entry, Job, device_name, measure_all, typed
from real_size import (
    LEARNED_DRAFTS,
    PROCESS,
    Plan,
    Subject,
    between_drafts,
    learned_grid,
    learned_slots,
    learner,
    networks,
    subjects,
)

from drf_jax.errors import UserError
from drf_jax.evaluation.program import lower
from drf_jax.evaluation.report import (
    CIRCUMSTANCES,
    circumstances,
    markdown_table,
    read_results,
    row,
    with_circumstances,
    write_results,
)
from drf_jax.networks.autoencoder import Autoencoder
from drf_jax.networks.dit import DiT
from drf_jax.process.gaussian import prior
from drf_jax.sampling.driffusion import make_rounds
from drf_jax.sampling.loops import COMPILED
from drf_jax.sampling.parts import Parts

ROOT = Path(__file__).resolve().parents[1]
CALL, DEVICE, ROUNDS = "network-call", "device", 2
KINDS = (CALL, "learned-4", "learned-4-parts")
SMALL = DiT(channels=4, patch=2, width=64, depth=12, heads=4, num_classes=10)
Start = tuple[Callable[[], Any], Callable[[], Any]]
"""What compiles, and what makes the first image afterwards."""


def call(denoiser, x, cond):
    return denoiser(x, jnp.full(len(x), 0.5), cond)


def whole(fn: Callable, *args: Any) -> Start:
    """Of a function that is compiled as one program."""
    leaves, made = jax.tree.leaves(args), {}

    def compile_it():
        lowered, made["chosen"] = lower(fn, args)
        made["program"] = lowered.compile()

    return compile_it, lambda: made["program"]([leaves[i] for i in made["chosen"]])


def start_of(kind: str, plan: Plan, subject: Subject) -> Start:
    x, keys, cond = subject.inputs(1, told=kind != CALL)
    if kind == CALL:
        return whole(call, subject.denoiser, x, cond)
    if kind == "learned-4":
        sampler = subject.makers[f"learned, {ROUNDS} rounds"](COMPILED).sampler
        return whole(images, sampler, subject.space, x, keys, cond)
    drafter, refiner = learned_slots(learner(plan, subject.denoiser), subject.shape)
    rounds = make_rounds(learned_grid(ROUNDS), LEARNED_DRAFTS, drafter.extra_steps)
    decode = None
    if subject.space is not None:
        program = jax.jit(lambda space, z: space.decode(z))
        decode = jax.tree_util.Partial(program, subject.space)
    parts = Parts(drafter, refiner, PROCESS, rounds, decode=decode)
    begin = lambda: prior(PROCESS, x, rounds.times[0, 0])
    return lambda: parts.compile(x, cond), lambda: parts(begin(), cond)


def measure(kind: str, plan: Plan) -> Entry:
    """In this process: seconds to compile, and to the first image after that."""
    (subject,) = subjects(plan)
    compile_it, first = start_of(kind, plan, subject)
    jax.block_until_ready((subject.denoiser, subject.inputs(1)))
    times = [time.perf_counter()]
    for act in (compile_it, first):
        jax.block_until_ready(act())
        times.append(time.perf_counter())
    return {"compiled": times[1] - times[0], "image": times[2] - times[0]}


def words_of(plan: Plan, smoke: bool) -> list[str]:
    """What tells a process of its own of a plan."""
    [name], [pixels], decoder = plan.networks, plan.pixels, plan.autoencoder is not None
    given = {"attention": plan.attention, "dtype": plan.dtype, "cross_draft": plan.cross_draft}
    given["cross_draft_width"] = plan.cross_draft_width
    given |= {} if smoke else {"networks": name, "pixels": pixels}
    words = [f"--{key}={value}" for key, value in given.items()]
    return words + ["--decoder"] * decoder + ["--smoke"] * smoke


def in_a_process(words: list[str], kind: str, cache: str) -> Entry:
    """What a new process says, in which ``kind`` is measured, or asked which device there is (``DEVICE``).

    Raises:
      UserError: it failed.
    """
    argv = [sys.executable, __file__, *words, f"--child={kind}", f"--cache={cache}"]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{kind}: the process ended with {done.returncode}: {done.stderr[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def job(words: list[str], kind: str, plan: Plan) -> Job:
    ([name], [pixels]) = plan.networks, plan.pixels
    of = {"network": name, "resolution": pixels, "method": kind}

    def measured():
        with tempfile.TemporaryDirectory() as cache:
            cold, warm = (in_a_process(words, kind, cache) for _ in range(2))
        return row(
            **of,
            **{key: cold[key] for key in CIRCUMSTANCES},
            attention=plan.attention,
            cross_draft=None if kind == CALL else between_drafts(plan),
            xla_flags=os.environ.get("XLA_FLAGS"),
            decoder="autoencoder" if plan.autoencoder and kind != CALL else None,
            weights="random",
            batch=1,
            compile_seconds=cold["compiled"],
            warm_seconds=warm["compiled"],
            first_image_seconds=cold["image"],
            warm_image_seconds=warm["image"],
        )

    return Job("rows", of, measured)


COLUMNS = {
    "network": "network",
    "resolution": "pixels",
    "method": "what",
    "compile_seconds": "first start, s",
    "over_call": "over a call's",
    "first_image_seconds": "first image, s",
    "warm_seconds": "from the cache, s",
    "warm_image_seconds": "first image from the cache, s",
}


def over_call(rows: list[Entry]) -> list[Entry]:
    """The rows with the seconds of their first start over those of the same network's call."""
    key = lambda r: (r["network"], r["resolution"])
    calls = {key(r): r["compile_seconds"] for r in rows if r["method"] == CALL}
    ratio = lambda r: {"over_call": r["compile_seconds"] / calls[key(r)]} if key(r) in calls else {}
    return [r | ratio(r) for r in rows]


def main(work: list[Job], path: Path, config: Entry, command: str, deadline: float, resume: bool):
    rows = []
    if resume and path.exists():
        found = read_results(path)
        if found["config"] != config:
            raise UserError(f"--resume: {path} was made with {found['config']}, not {config}")
        rows += with_circumstances(found)
    save = lambda: write_results(path, over_call(rows), config, command)
    measure_all(work, {"rows": rows}, save, deadline)
    print(markdown_table(over_call(rows), COLUMNS))


if __name__ == "__main__":
    flags.DEFINE_boolean("smoke", False, "a small network")
    flags.DEFINE_list("networks", "dit-xl/2", "published sizes")
    flags.DEFINE_list("pixels", "512", "sides of the images")
    flags.DEFINE_list("kinds", list(KINDS), "what to start")
    flags.DEFINE_boolean("decoder", False, "with the decoder")
    flags.DEFINE_string("dtype", "bfloat16", "of the networks")
    flags.DEFINE_string("attention", "xla", "backend: xla, cudnn, or auto")
    flags.DEFINE_string("cross_draft", "every_block", "as config.method has it")
    flags.DEFINE_integer("cross_draft_width", 0, "the same; 0: that of the feature map")
    flags.DEFINE_float("deadline", 0, "seconds in which to end; 0: no limit")
    flags.DEFINE_boolean("resume", False, "keep what the results file has")
    flags.DEFINE_string("out", str(ROOT), "folder that gets results/")
    flags.DEFINE_string("child", "", "for the script itself")
    flags.DEFINE_string("cache", "", "for the script itself")
    f = flags.FLAGS
    command = typed(sys.argv)

    def plans():
        known = {"small": SMALL} if f.smoke else networks(f.networks)
        autoencoder = Autoencoder(dtype=f.dtype) if f.decoder else None
        if autoencoder and f.smoke:
            autoencoder = dataclasses.replace(autoencoder, widths=(32,) * 4, blocks=1)
        return [
            Plan(
                networks={name: backbone},
                pixels=(pixels,),
                guidance=(1.0,),
                methods=("learned",),
                rounds=(ROUNDS,),
                autoencoder=autoencoder,
                dtype=f.dtype,
                attention=f.attention,
                cross_draft=f.cross_draft,
                cross_draft_width=f.cross_draft_width,
            )
            for name, backbone in known.items()
            for pixels in ((64,) if f.smoke else map(int, f.pixels))
        ]

    def child():
        jax.config.update("jax_compilation_cache_dir", f.cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        found = {"name": device_name()} if f.child == DEVICE else measure(f.child, *plans())
        print(json.dumps(found | circumstances()))

    def run(_):
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        if f.child:
            return child()
        jax.config.update(
            "jax_platforms", "cpu"
        )  # the accelerator is for the processes of their own
        if unknown := set(f.kinds) - set(KINDS):
            raise UserError(f"--kinds {unknown.pop()}: choose among {', '.join(KINDS)}")
        work = [job(words_of(plan, f.smoke), k, plan) for plan in plans() for k in f.kinds]
        config = {"dtype": f.dtype, "attention": f.attention, "decoder": f.decoder}
        config |= {"cross_draft": f.cross_draft, "cross_draft_width": f.cross_draft_width}
        config |= {"rounds": ROUNDS, "smoke": f.smoke}
        name = in_a_process([], DEVICE, "")["name"]
        path = Path(f.out) / "results" / f"start_up_{name}.json"
        return main(work, path, config, command, f.deadline, f.resume)

    def told(argv):
        try:
            return run(argv)
        except UserError as error:
            sys.exit(f"start_up: {error}")

    logging.set_verbosity(logging.WARNING)
    app.run(told)
