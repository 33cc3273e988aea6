"""What drafting in parallel costs, and what the samplers' loops cost, at batch 1.

    python experiments/latency.py --smoke        a minute on 2 CPU cores

1. ``parallel``: one network call of K states against K calls of one state, one after the other. 1 means that nothing is
   gained, 1/K that the K − 1 other states are free.
2. ``loops``: a whole sampler against the network calls that it makes, as many plain calls of the jitted network in a
   Python loop. On a CPU the U-Net's samplers loop in Python too (`drf_jax.sampling.loops`): at most 1.10 is asked of
   them. The DiT's are compiled as a whole, which also saves the calls' dispatch.
3. ``rows``: milliseconds of the samplers of ``configs/digits.py``.

What is divided by one another was timed alternately in one process; a ratio is the median over the repetitions. The
weights are random: they change no latency. Writes ``results/latency_<device>.json`` and its picture.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from measuring import device_name

from drf_jax import build
from drf_jax.configs import digits
from drf_jax.data.conditioning import null_cond
from drf_jax.data.source import Source
from drf_jax.denoiser import Denoiser
from drf_jax.evaluation.latency import latency
from drf_jax.evaluation.lines import Panel, line_figure
from drf_jax.evaluation.report import Row, family, row, write_results
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.process.prediction import Prediction
from drf_jax.sampling.loops import Loop
from drf_jax.sampling.method import Method, compile_for
from drf_jax.typing import State

BOUND = 1.10
DRAFTS = (1, 2, 4, 8)
UNET, SIDE = {"name": "unet", "width": 32}, 16


@dataclasses.dataclass(frozen=True)
class Subject:
    """A network with random weights, and how its samplers loop."""

    name: str
    denoiser: Denoiser
    loop: Loop
    data: Source
    shape: tuple[int, ...]

    @property
    def params(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(self.denoiser.params))

    def states(self, batch: int) -> tuple[State, dict[str, jax.Array]]:
        """Noise and conditioning of ``batch`` states."""
        noise = jax.random.normal(jax.random.key(batch), (batch, *self.shape))
        return noise, null_cond(self.data, batch)

    def methods(self) -> list[Method]:
        """The samplers of the digits' evaluation."""
        sections = digits.get_config().evaluate.methods.to_dict()
        args = (self.denoiser, self.data, self.loop, "config.evaluate.methods")
        return [build.method(name, section, *args) for name, section in sections.items()]


def subject(name: str, network: Mapping[str, Any], side: int) -> Subject:
    """A network of the digits' config on images of this size; ``network`` replaces its section."""
    config = digits.get_config()
    config.network = dict(network)
    data = build.source(config)
    net = DenoisingNetwork(build.backbone(config, data))
    shape = (side, side, data.image_shape[-1])
    x, cond = jnp.zeros((1, *shape)), null_cond(data, 1)
    params = jax.jit(net.init)(jax.random.key(0), x, jnp.zeros(1), cond)["params"]
    denoiser = Denoiser(params, net, build.process(config), build.output(config))
    return Subject(name, denoiser, build.loop(config), data, shape)


def subjects() -> list[Subject]:
    dit = digits.get_config().network.to_dict()
    return [subject("DiT", dit, 8), subject("U-Net", UNET, SIDE)]


def alternate(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, np.ndarray]:
    """Milliseconds ``[repeats]`` of each call, one after the other in every repetition.

    A call is timed right after an untimed one of its own, so that none pays for what ran before it.
    """
    for call in calls.values():  # compile
        jax.block_until_ready(call())
    times = {name: np.empty(repeats) for name in calls}
    for i in range(repeats):
        for name, call in calls.items():
            jax.block_until_ready(call())
            start = time.perf_counter()
            jax.block_until_ready(call())
            times[name][i] = 1e3 * (time.perf_counter() - start)
    return times


@jax.jit
def predict(denoiser: Denoiser, x: State, cond: Any) -> Prediction:
    """One network call in the middle of the process."""
    return denoiser(x, jnp.full(len(x), 0.5), cond)


def one_after_another(one: Subject, calls: int) -> Callable[[], State]:
    """``calls`` network calls of one state, each waiting for the one before, in the network's own loop."""
    x, cond = one.states(1)

    def run(denoiser, x, cond):
        body = lambda x, _: (predict(denoiser, x, cond).x0, None)
        return one.loop.scan(body, x, np.arange(calls))[0]

    compiled = compile_for(one.loop, run)
    return lambda: compiled(one.denoiser, x, cond)


def plain_calls(one: Subject, method: Method) -> Callable[[], None]:
    """The network calls that a sampler makes and nothing else, in a plain Python loop."""
    inputs = [(*one.states(width), count) for width, count in widths(method).items()]

    def run():
        for x, cond, count in inputs:
            for _ in range(count):
                x = predict(one.denoiser, x, cond).x0
            jax.block_until_ready(x)

    return run


def together(one: Subject, batch: int) -> Callable[[], Prediction]:
    """One network call of ``batch`` states."""
    x, cond = one.states(batch)
    return lambda: predict(one.denoiser, x, cond)


def parallel(one: Subject, repeats: int) -> list[dict[str, Any]]:
    """K states in one call against K calls."""
    calls = {}
    for k in DRAFTS:
        calls |= {f"one {k}": together(one, k), f"serial {k}": one_after_another(one, k)}
    times = alternate(calls, repeats)
    return [
        {
            "network": one.name,
            "params": one.params,
            "resolution": one.shape[0],
            "drafts": k,
            "one_call_ms": float(np.median(times[f"one {k}"])),
            "serial_calls_ms": float(np.median(times[f"serial {k}"])),
            "ratio": float(np.median(times[f"one {k}"] / times[f"serial {k}"])),
        }
        for k in DRAFTS
    ]


def widths(method: Method) -> dict[int, int]:
    """States in a network call -> number of such calls: single ones, and those of all drafts."""
    k = max(method.drafts, 2)
    wide = (method.network_evaluations - method.sequential_calls) // (k - 1)
    return {1: method.sequential_calls - wide} | ({k: wide} if wide else {})


def loops(one: Subject, methods: list[Method], repeats: int) -> list[dict[str, Any]]:
    """Samplers against their network calls alone."""
    x, cond = one.states(1)
    keys = jax.random.split(jax.random.key(0), 1)
    rows = []
    for method in methods:
        sampler = functools.partial(method.sampler, x, keys, cond)
        times = alternate({"sampler": sampler, "calls": plain_calls(one, method)}, repeats)
        rows.append(
            {
                "network": one.name,
                "method": method.name,
                "sequential_calls": method.sequential_calls,
                "sampler_ms": float(np.median(times["sampler"])),
                "network_calls_ms": float(np.median(times["calls"])),
                "ratio": float(np.median(times["sampler"] / times["calls"])),
            }
        )
    return rows


def sampler_rows(one: Subject, methods: list[Method], repeats: int) -> list[Row]:
    """Latency of whole samplers, as result rows."""
    noise, cond = one.states(1)
    keys = jax.random.split(jax.random.key(0), 1)
    return [
        row(
            dataset=one.data.name,
            method=method.name,
            mode=method.mode,
            sequential_calls=method.sequential_calls,
            network_evaluations=method.network_evaluations,
            drafts=method.drafts,
            resolution=one.shape[0],
            batch=1,
            params=one.params,
            weights="random",
            **latency(method.sampler, noise, keys, cond, repeats=repeats),
        )
        for method in methods
    ]


def draw(path: Path, tables: Mapping[str, list[dict[str, Any]]]) -> None:
    def lines(table, x, y, name):
        made: dict[str, list] = {}
        for entry in tables[table]:
            made.setdefault(name(entry), []).append((entry[x], entry[y]))
        return made

    each = lambda entry: (
        f"{entry['network']}, {family(entry['method']).removeprefix('driffusion-')}"
    )
    calls, key = "sequential network calls", "sequential_calls"
    steps = [entry["sequential_calls"] for entry in tables["loops"]]
    guides = {
        "nothing gained": [(k, 1.0) for k in DRAFTS],
        "other states free": [(k, 1 / k) for k in DRAFTS],
    }
    ratio = lines("parallel", "drafts", "ratio", lambda entry: entry["network"])
    line_figure(
        path,
        [
            Panel("K states in one call", "K", "time over that of K calls", ratio, guides),
            Panel("samplers", calls, "ms at batch 1", lines("loops", key, "sampler_ms", each)),
            Panel(
                "loops",
                calls,
                "sampler over its network calls",
                lines("loops", key, "ratio", each),
                {"bound": [(min(steps), BOUND), (max(steps), BOUND)]},
                y_scale="linear",
            ),
        ],
    )


def main(chosen: list[Subject], repeats: int, out: Path, config: dict, command: str) -> None:
    """Measure, write the results file and the picture, and say whether the bound holds."""
    methods = {one.name: one.methods() for one in chosen}
    tables = {
        "parallel": [entry for one in chosen for entry in parallel(one, repeats)],
        "loops": [e for one in chosen for e in loops(one, methods[one.name], repeats)],
    }
    rows = sampler_rows(chosen[0], methods[chosen[0].name], repeats)
    worst = max(e["ratio"] for e in tables["loops"] if e["network"] == chosen[-1].name)
    device = device_name()
    facts = tables | {"loop_bound": BOUND, "loop_worst": worst}
    write_results(out / "results" / f"latency_{device}.json", rows, config, command, facts)
    draw(out / "docs" / "pictures" / f"latency_{device}.png", tables)
    for entry in tables["parallel"]:
        print(f"{entry['network']:6s} K = {entry['drafts']}: ratio {entry['ratio']:.2f}")
    for entry in tables["loops"]:
        print(
            f"{entry['network']:6s} {entry['method']:28s} {entry['sampler_ms']:8.2f} ms, "
            f"{entry['ratio']:.3f} of its network calls"
        )
    said = "holds" if worst <= BOUND else "IS EXCEEDED"
    print(f"{chosen[-1].name}: worst loop ratio {worst:.3f}; the bound of {BOUND:.2f} {said}")
