"""How much of what consistency training learns from is rounding.

    drf unpack --model emoji --workdir runs/emoji --data_dir ~/data
    python experiments/rounding.py --teacher runs/emoji

Its loss is the distance between the ends of two neighbours (`drf_jax.objectives.consistency`, equation 3), of which one
learns from the other. The more intervals, the closer they are, while rounding stays what it is; where it is larger, the
student learns noise. The teacher's network, where a student starts, is asked for both ends of the same pairs in
float32 with full products (the reference), and in every dtype of ``--dtypes`` (on a GPU, float32 multiplies in TF32
unless ``--precision=highest``).

Prints a table, one line for each number of intervals: over the pairs, the median root mean square of the reference's
difference, and for each dtype that of one end's error and the cosine between its difference and the reference's, median
and lower quartile.
"""

import argparse
import sys
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from drf_jax import build
from drf_jax.consistency import ConsistencyFunction
from drf_jax.data.conditioning import condition
from drf_jax.data.image import to_model
from drf_jax.denoiser import Denoiser
from drf_jax.errors import UserError
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.objectives.discretisation import Discretisation, LogNormal
from drf_jax.process.boundary import ConsistencyBoundary
from drf_jax.process.gaussian import perturb
from drf_jax.runs.teacher import Teacher, load_teacher

INTERVALS = "10,40,160,640,1280"
Ends = tuple[Float[np.ndarray, "b n"], Float[np.ndarray, "b n"]]
"""Of the upper and the lower neighbour."""


class Pairs(NamedTuple):
    """Neighbours in so many intervals: the states, and their times ``[b]``."""

    upper: jax.Array
    t: jax.Array
    lower: jax.Array
    s: jax.Array


def pairs(cut: Discretisation, x0: jax.Array, intervals: int, seed: int) -> Pairs:
    """Those of consistency training on images ``x0`` ``[b, *image]``, of the log-normal proposal."""
    index_key, noise_key = jax.random.split(jax.random.key(seed))
    m = jnp.full(len(x0), intervals)
    n = LogNormal()(index_key, cut, m)
    eps = jax.random.normal(noise_key, x0.shape, x0.dtype)
    t, s = cut.time(cut.sigma(n + 1, m)), cut.time(cut.sigma(n, m))
    return Pairs(perturb(cut.process, x0, eps, t), t, perturb(cut.process, x0, eps, s), s)


def computing_in(teacher: Teacher, dtype: str) -> Denoiser:
    """The teacher's denoiser in a dtype."""
    network = DenoisingNetwork(build.computing_in(teacher.network.backbone, dtype))
    made = teacher.denoiser
    return Denoiser(made.params, network, made.process, made.output)


def ends_in(
    teacher: Teacher, dtype: str, cut: Discretisation, precision: str, cond: dict, batch: int
) -> Callable[[Pairs], Ends]:
    """The ends of pairs, computed in a dtype."""
    boundary = ConsistencyBoundary(cut.sigma_min)
    f = ConsistencyFunction(computing_in(teacher, dtype), cut.process, boundary)
    run = jax.jit(lambda f, x, t, cond: f(x, t, cond))

    def end(x, t):
        parts = []
        with jax.default_matmul_precision(precision):
            for i in range(0, len(x), batch):
                here = slice(i, i + batch)
                own = jax.tree.map(lambda leaf, at=here: leaf[at], cond)
                parts.append(np.asarray(run(f, x[here], t[here], own), np.float64))
        return np.concatenate(parts).reshape(len(x), -1)

    return lambda made: (end(made.upper, made.t), end(made.lower, made.s))


def rms(values: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b"]:
    return np.sqrt(np.mean(values**2, axis=1))


def compared(reference: Ends, found: Ends) -> tuple[float, float, float]:
    """Median error of one end, and the cosine between the differences: median and lower quartile."""
    true, own = (upper - lower for upper, lower in (reference, found))
    norms = np.linalg.norm(true, axis=1) * np.linalg.norm(own, axis=1)
    cosine = np.sum(true * own, axis=1) / np.maximum(norms, np.finfo(float).tiny)
    error = rms(found[0] - reference[0])
    return float(np.median(error)), float(np.median(cosine)), float(np.quantile(cosine, 0.25))


def main(arguments: list[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", required=True, help="folder of its run")
    parser.add_argument("--intervals", default=INTERVALS, help="numbers of them, with commas")
    parser.add_argument("--dtypes", default="bfloat16,float32", help="with commas")
    parser.add_argument("--precision", default="default", help="of float32 products")
    parser.add_argument("--samples", type=int, default=128, help="pairs")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    dtypes = given.dtypes.split(",")
    try:
        teacher = load_teacher(given.teacher)
        cut = Discretisation(teacher.denoiser.process)
        every = max(len(teacher.data) // given.samples, 1)
        examples = [teacher.data[i * every % len(teacher.data)] for i in range(given.samples)]
        found = {key: np.stack([each[key] for each in examples]) for key in examples[0]}
        x0, cond = jnp.asarray(to_model(found["image"])), condition(teacher.data, found)
        asked = {"": ("float32", "highest")} | {d: (d, given.precision) for d in dtypes}
        ends = {
            name: ends_in(teacher, dtype, cut, precision, cond, given.batch)
            for name, (dtype, precision) in asked.items()
        }
        head = [f"{d}: {what}" for d in dtypes for what in ("error", "cosine", "lower quartile")]
        print(
            f"| intervals | difference | {' | '.join(head)} |\n| ---: |{' ---: |' * (len(head) + 1)}"
        )
        for intervals in map(int, given.intervals.split(",")):
            made = pairs(cut, x0, intervals, given.seed)
            reference = ends[""](made)
            cells = [f"{intervals:,}", f"{np.median(rms(reference[0] - reference[1])):.2g}"]
            for dtype in dtypes:
                error, median, quartile = compared(reference, ends[dtype](made))
                cells += [f"{error:.2g}", f"{median:.2f}", f"{quartile:.2f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
    except UserError as error:
        print(f"rounding: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
