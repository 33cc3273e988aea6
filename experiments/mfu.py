"""Where the time of one DiT call goes: the same call with one part changed or left out, beside the whole.

    python experiments/mfu.py --smoke             half a minute on 2 CPU cores: that it runs
    python experiments/mfu.py --deadline=540      DiT-XL/2 at 512 px, 8 states and 1, on an accelerator
    python experiments/mfu.py --network=dit-l/2 --batches=16 --parts=whole,cudnn

With F the operations of `plain_dit`'s equations (1) to (3), t the seconds of a call and R the highest rate at which the
device was seen to multiply large matrices (``ceilings``),

    MFU = F / (t R).                                                                                                 (1)

    ``parts``     each part's ``p50_ms``, alternating with the whole network's (``whole_ms``) in one process;
                  ``saved_ms`` is the difference, ``largest_difference`` that of the outputs where they should agree
    ``products``  rates of the network's own matrix products, each alone, over R
    ``counts``    F beside the count of the library's own network (`drf_jax.flops`)

The parts ``products`` (nothing but the matrix products) and ``hoisted`` (modulations computed beforehand) bound what
fusing and what computing them once a sampler could save. Weights are kept in the dtype of the computation, except in
``float32 weights``; the two of ``int8`` need qwix. Weights are random. The file is
written after every measurement; ``--deadline`` and ``--resume`` are those of `latency.py`.
"""

import dataclasses
import functools
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import plain_dit
from absl import app, flags, logging
from loops import alternate
from measuring import Entry, Job, device_name, measure_all, typed
from plain_dit import Parts
from real_size import random_denoiser

from drf_jax.cli.main import compilation_cache
from drf_jax.data.conditioning import null_cond
from drf_jax.evaluation.latency import latency
from drf_jax.evaluation.program import compile_program, matrix_rate, operations
from drf_jax.evaluation.report import read_results, write_results
from drf_jax.networks.attention import resolve_backend
from drf_jax.networks.dit import DiT
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.networks.quantised import quantised
from drf_jax.networks.sizes import SIZES

ROOT = Path(__file__).resolve().parents[1]
TINY = DiT(channels=4, patch=2, width=64, depth=2, heads=4, num_classes=10)
SAME = {
    "whole": Parts(),
    "cudnn": Parts(attention="cudnn"),
    "split qkv": Parts(fused_qkv=False),
    "norm in bfloat16": Parts(norm="bfloat16"),
    "hoisted": Parts(),
    "float32 weights": Parts(),
}
"""What computes the network's output, up to rounding."""
LESS = {
    "no attention": Parts(attention="none"),
    "no modulation": Parts(modulation=False),
    "no gelu": Parts(gelu=False),
    "no norm": Parts(norm="none"),
    "products": Parts("none", "none", gelu=False, modulation=False),
}
PARTS = SAME | LESS
INT8 = {"int8 weights": False, "int8 products": True}
"""The library's network, quantised (`drf_jax.networks.quantised`)."""


@dataclasses.dataclass(frozen=True)
class Call:
    """A call of ``batch`` states of a network with random weights."""

    name: str
    net: DiT
    side: int
    batch: int

    def arguments(self) -> tuple:
        denoiser = random_denoiser(self.net, (self.side, self.side, self.net.channels))
        x = jax.random.normal(
            jax.random.key(1), (self.batch, self.side, self.side, self.net.channels)
        )
        return denoiser.params, x, jnp.full(self.batch, 0.5), null_cond(self.net, self.batch)

    def program(self, part: str) -> Callable[[], jax.Array]:
        """The compiled call, with its arguments."""
        params, x, t, cond = self.arguments()
        given = plain_dit.conditioning
        if part == "float32 weights":
            params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
        if part in INT8:
            network = DenoisingNetwork(self.net)
            made = quantised(network, params, x, t, cond, activations=INT8[part])
            args = (made[1], x, t, cond)
            run = lambda params, *args: made[0].apply({"params": params}, *args)
        elif part == "hoisted":
            made = jax.jit(functools.partial(given, self.net))(params, t, cond)
            args = (params, x, made)
            run = lambda params, x, made: plain_dit.body(self.net, params, x, made, PARTS[part])
        else:
            args = (params, x, t, cond)

            def run(params, x, t, cond):
                made = given(self.net, params, t, cond)
                return plain_dit.body(self.net, params, x, made, PARTS[part])

        program = compile_program(run, *args, warm=False)
        return lambda: program.run(*args)

    @property
    def operations(self) -> float:
        return sum(plain_dit.operations(self.net, self.side, self.batch).values())

    def counted(self) -> float:
        """The count of the library's own network, as it is traced."""
        params, x, t, cond = self.arguments()
        network = random_denoiser(self.net, x.shape[1:]).network
        return operations(lambda p, *args: network.apply({"params": p}, *args), params, x, t, cond)


@functools.lru_cache(maxsize=1)
def whole(call: Call) -> Callable[[], jax.Array]:
    return call.program("whole")


def part_job(call: Call, part: str, repeats: int, ceiling: Callable[[], float]) -> Job:
    of = {"network": call.name, "side": call.side, "batch": call.batch, "part": part}

    def measure():
        base, other = whole(call), call.program(part)
        times = alternate({"whole": base, "part": other}, repeats)
        p50, whole_ms = (float(np.median(times[name])) for name in ("part", "whole"))
        entry = of | {
            "p50_ms": p50,
            "whole_ms": whole_ms,
            "saved_ms": float(np.median(times["whole"] - times["part"])),
        }
        if part not in LESS:
            difference = jnp.abs(base() - other()).max() / jnp.abs(base()).max()
            entry["largest_difference"] = float(difference)
            entry["mfu"] = 1e3 * call.operations / p50 / ceiling()
        return entry

    return Job("parts", of, measure)


def count_job(call: Call) -> Job:
    of = {"network": call.name, "side": call.side, "batch": call.batch}
    each = lambda: plain_dit.operations(call.net, call.side, call.batch)
    return Job("counts", of, lambda: of | each() | {"traced": call.counted()})


def product_job(call: Call, name: str, k: int, n: int, repeats: int, ceiling: Callable) -> Job:
    """One of the network's products alone: ``[batch · tokens, k] [k, n]``."""
    m = call.batch * (call.side // call.net.patch) ** 2
    of = {"network": call.name, "side": call.side, "batch": call.batch, "product": name}

    def measure():
        a = jax.random.normal(jax.random.key(0), (m, k)).astype(call.net.dtype)
        b = jax.random.normal(jax.random.key(1), (8, k, n)).astype(call.net.dtype)
        chain = jax.jit(lambda a: [a @ each for each in b])  # one dispatch, as in the network
        ms = latency(chain, a, repeats=repeats)["p50_ms"]
        rate = 1e3 * 8 * 2 * m * k * n / ms
        return of | {"shape": [m, k, n], "rate": rate, "share": rate / ceiling()}

    return Job("products", of, measure)


def ceiling_job(dtype: str, side: int) -> Job:
    of = {"dtype": dtype, "side": side}
    return Job("ceilings", of, lambda: of | {"rate": matrix_rate(dtype, side)})


def jobs(
    calls: list[Call], parts: list[str], sides: list[int], repeats: int, tables: dict[str, Any]
) -> Iterator[Job]:
    """Ceilings first: the rest is divided by the highest."""
    ceiling = lambda: max(entry["rate"] for entry in tables["ceilings"])
    for side in sides:
        yield ceiling_job(calls[0].net.dtype, side)
    for call in calls:
        yield count_job(call)
        for part in parts:
            yield part_job(call, part, repeats, ceiling)
        w, r = call.net.width, call.net.mlp_ratio
        shapes = {"qkv": (w, 3 * w), "out": (w, w), "mlp_in": (w, r * w), "mlp_out": (r * w, w)}
        for name, (k, n) in shapes.items():
            yield product_job(call, name, k, n, repeats, ceiling)


def show(tables: dict[str, list[Entry]]) -> None:
    for e in tables["ceilings"]:
        print(f"product of {e['side']} x {e['side']}: {e['rate'] / 1e12:.1f} TFLOP/s")
    for e in tables["counts"]:
        formula = sum(e[name] for name in ("products", "attention", "conditioning"))
        found = f"{formula:.4g} operations by formula, {e['traced']:.4g} traced"
        print(f"{e['network']}, {e['batch']} states: {found}")
    for e in tables["parts"]:
        mfu = f", MFU {e['mfu']:.3f}" if "mfu" in e else ""
        print(
            f"{e['network']}, {e['batch']:2d} states, {e['part']:16s} {e['p50_ms']:9.3f} ms, "
            f"saves {e['saved_ms']:8.3f} of {e['whole_ms']:.3f}{mfu}"
        )
    for e in tables["products"]:
        print(
            f"{e['network']}, {e['batch']:2d} states, {e['product']:8s} {e['share']:.2f} of the ceiling"
        )


def main(
    calls: list[Call],
    parts: list[str],
    sides: list[int],
    repeats: int,
    path: Path,
    command: str,
    deadline: float = 0,
    resume: bool = False,
) -> None:
    """Measure, saving after every measurement, and print what was found."""
    tables: dict[str, list[Entry]] = {"ceilings": [], "counts": [], "parts": [], "products": []}
    if resume and path.exists():
        found = read_results(path)
        tables = {name: found.get(name, []) for name in tables}
    config = {"calls": [dataclasses.asdict(call) for call in calls], "repeats": repeats}
    save = lambda: write_results(path, [], config, command, tables)
    measure_all(jobs(calls, parts, sides, repeats, tables), tables, save, deadline)
    show(tables)


if __name__ == "__main__":
    flags.DEFINE_boolean("smoke", False, "a tiny network")
    flags.DEFINE_enum("network", "dit-xl/2", [n for n in SIZES if n.startswith("dit")], "its size")
    flags.DEFINE_integer("pixels", 512, "side of the images; latents have an eighth")
    flags.DEFINE_list("batches", "8,1", "states in a call")
    flags.DEFINE_list("parts", [*PARTS, *INT8], "most wanted first")
    flags.DEFINE_list("sides", "4096,8192,16384", "of the square products that give the ceiling")
    flags.DEFINE_string("dtype", "bfloat16", "of the network")
    flags.DEFINE_integer("repeats", 50, "repetitions")
    flags.DEFINE_float("deadline", 0, "seconds in which to end; 0: no limit")
    flags.DEFINE_boolean("resume", False, "keep what the results file has")
    flags.DEFINE_string("out", str(ROOT), "folder that gets results/")
    f = flags.FLAGS
    command = typed(sys.argv)

    def run(_):
        compilation_cache()
        device = jax.devices()[0]
        net = dataclasses.replace(TINY if f.smoke else SIZES[f.network], dtype=f.dtype)
        side = 16 if f.smoke else f.pixels // 8
        calls = [Call("tiny" if f.smoke else f.network, net, side, int(b)) for b in f.batches]
        if unknown := set(f.parts) - {*PARTS, *INT8}:
            sys.exit(f"--parts {min(unknown)}: choose among {', '.join([*PARTS, *INT8])}")
        absent = set() if importlib.util.find_spec("qwix") else set(INT8)
        if resolve_backend("auto", net.dtype, net.head_widths, device) != "cudnn":
            absent.add("cudnn")
        for part in sorted(absent & set(f.parts)):
            print(f"{part}: not to be had here, left out", file=sys.stderr)
        parts = [part for part in f.parts if part not in absent]
        sides = [256] if f.smoke else [int(side) for side in f.sides]
        name = "smoke" if f.smoke else device_name()
        path = Path(f.out) / "results" / f"mfu_{name}.json"
        repeats = 3 if f.smoke else f.repeats
        main(calls, parts, sides, repeats, path, command, f.deadline, f.resume)

    logging.set_verbosity(logging.WARNING)
    app.run(run)
