"""One DiT call in JAX and in PyTorch on the same device: same description, same weights, alternating in one process.

    python experiments/torch_dit.py --smoke                                a tiny network, seconds on 2 CPU cores
    python experiments/torch_dit.py --deadline=540                         DiT-XL/2 and L/2 at 512 px, on an NVIDIA GPU
    python experiments/torch_dit.py --networks=dit-b/2 --batches=1,6 --modes=reduce-overhead

PyTorch (not a part of drf_jax: ``pip install torch``) runs scaled_dot_product_attention, eagerly or through
``torch.compile`` in the given mode; JAX runs each backend of attention that the device has. Batches are a state, both
halves of its guidance, 3 drafts, and both halves of theirs. ``ratio`` is JAX's time over PyTorch's, the median over the
repetitions; ``largest_difference`` is relative to the largest output. Weights are random. The file is written after
every measurement; ``--deadline`` and ``--resume`` are those of `latency.py`.
"""

import dataclasses
import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leave memory to PyTorch

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging
from loops import alternate
from measuring import Entry, Job, measure_all, typed
from real_size import networks, random_denoiser, with_backend

from drf_jax.cli.main import compilation_cache
from drf_jax.data.conditioning import null_cond
from drf_jax.evaluation.program import compile_program
from drf_jax.evaluation.report import read_results, write_results
from drf_jax.networks.attention import resolve_backend
from drf_jax.networks.dit import DiT

try:
    import torch
    from torch_network import Network, from_jax, tensor
except ModuleNotFoundError:
    sys.exit("experiments/torch_dit.py compares with PyTorch, which is not here: pip install torch")

ROOT = Path(__file__).resolve().parents[1]
TINY = DiT(channels=4, patch=2, width=64, depth=2, heads=4, num_classes=10)
MODES = ("eager", "reduce-overhead", "max-autotune-no-cudagraphs")


@dataclasses.dataclass(frozen=True)
class Call:
    """A network with random weights and the inputs of a call."""

    name: str
    net: DiT
    side: int
    batch: int

    def arguments(self) -> tuple:
        x = jax.random.normal(
            jax.random.key(0), (self.batch, self.side, self.side, self.net.channels)
        )
        return x, jnp.full(self.batch, 0.5), null_cond(self.net, self.batch)


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def in_jax(call: Call, backend: str) -> Callable[[], jax.Array]:
    """The compiled call."""
    x, t, cond = call.arguments()
    denoiser = with_backend(random_denoiser(call.net, x.shape[1:]), backend)
    apply = lambda params, *args: denoiser.network.apply({"params": params}, *args)
    program = compile_program(apply, denoiser.params, x, t, cond, warm=False)
    return lambda: program.run(denoiser.params, x, t, cond)


@functools.lru_cache(maxsize=1)
def torch_network(net: DiT, side: int) -> Network:
    params = random_denoiser(net, (side, side, net.channels)).params
    return from_jax(net, side, params).to(device(), getattr(torch, net.dtype))


def in_torch(call: Call, mode: str) -> Callable[[], torch.Tensor]:
    """The call, which waits for its result."""
    x, t, cond = call.arguments()
    label = torch.from_numpy(np.array(cond["label"], np.int64))
    args = [each.to(device()) for each in (tensor(x), tensor(t), label)]
    network = torch_network(call.net, call.side)
    if mode != "eager":
        torch._dynamo.reset()
        network = torch.compile(network, mode=mode, dynamic=False)

    @torch.inference_mode()
    def run():
        y = network(*args)
        if device().type == "cuda":
            torch.cuda.synchronize()
        return y

    return run


def job(call: Call, mode: str, backends: list[str], repeats: int) -> Job:
    of = {"network": call.name, "side": call.side, "batch": call.batch, "torch_mode": mode}

    def measure():
        calls = {backend: in_jax(call, backend) for backend in backends}
        other = in_torch(call, mode)
        start = time.perf_counter()
        expected = other().float().cpu().numpy()
        compiling = time.perf_counter() - start
        times = alternate(calls | {"torch": other}, repeats)
        made = of | {"torch_ms": float(np.median(times["torch"])), "torch_first_seconds": compiling}
        for backend, run in calls.items():
            difference = np.abs(np.asarray(run(), np.float32) - expected).max()
            made[backend] = {
                "ms": float(np.median(times[backend])),
                "ratio": float(np.median(times[backend] / times["torch"])),
                "largest_difference": float(difference / np.abs(expected).max()),
            }
        return made

    return Job("calls", of, measure)


def main(
    calls: list[Call],
    modes: list[str],
    repeats: int,
    path: Path,
    command: str,
    deadline: float = 0,
    resume: bool = False,
) -> None:
    """Measure, saving after every measurement, and print the ratios."""
    tables: dict[str, list[Entry]] = {"calls": []}
    if resume and path.exists():
        tables["calls"] = read_results(path).get("calls", [])
    config = {"networks": sorted({call.name for call in calls}), "repeats": repeats}
    config |= {"torch": torch.__version__, "dtype": calls[0].net.dtype}
    save = lambda: write_results(path, [], config, command, tables)
    here = jax.devices()[0]
    fast = lambda net: resolve_backend("auto", net.dtype, net.head_widths, here)
    work = (
        job(call, mode, sorted({"xla", fast(call.net)}), repeats)
        for call in calls
        for mode in modes
    )
    measure_all(work, tables, save, deadline)
    for entry in tables["calls"]:
        for backend in ("xla", "cudnn"):
            if found := entry.get(backend):
                print(
                    f"{entry['network']}, {entry['batch']} states: JAX {backend} {found['ms']:.3f} ms, "
                    f"PyTorch {entry['torch_mode']} {entry['torch_ms']:.3f} ms, ratio {found['ratio']:.3f}, "
                    f"outputs differ by {found['largest_difference']:.1g}"
                )


if __name__ == "__main__":
    flags.DEFINE_boolean("smoke", False, "a tiny network, eagerly")
    flags.DEFINE_list("networks", "dit-xl/2,dit-l/2", "published sizes")
    flags.DEFINE_integer("pixels", 512, "side of the images; latents have an eighth")
    flags.DEFINE_list("batches", "1,6,2,3", "states in a call, most wanted first")
    flags.DEFINE_list(
        "modes", "reduce-overhead,max-autotune-no-cudagraphs", f"of {', '.join(MODES)}"
    )
    flags.DEFINE_string("dtype", "bfloat16", "of the networks")
    flags.DEFINE_integer("repeats", 50, "repetitions")
    flags.DEFINE_float("deadline", 0, "seconds in which to end; 0: no limit")
    flags.DEFINE_boolean("resume", False, "keep what the results file has")
    flags.DEFINE_string("out", str(ROOT), "folder that gets results/")
    f = flags.FLAGS
    command = typed(sys.argv)

    def run(_):
        compilation_cache()
        chosen = {"tiny": TINY} if f.smoke else networks(f.networks)
        side = 16 if f.smoke else f.pixels // 8
        nets = {name: dataclasses.replace(net, dtype=f.dtype) for name, net in chosen.items()}
        calls = [Call(name, net, side, int(b)) for name, net in nets.items() for b in f.batches]
        modes, repeats = (["eager"], 3) if f.smoke else (f.modes, f.repeats)
        device = "smoke" if f.smoke else "_".join(jax.devices()[0].device_kind.lower().split())
        path = Path(f.out) / "results" / f"torch_dit_{device}.json"
        main(calls, modes, repeats, path, command, f.deadline, f.resume)

    logging.set_verbosity(logging.WARNING)
    app.run(run)
