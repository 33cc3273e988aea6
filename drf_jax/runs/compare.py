"""One row for every method: what is measured on its samples, against the data and against the teacher."""

import sys
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from drf_jax import build
from drf_jax.data.conditioning import condition_of
from drf_jax.data.source import Source
from drf_jax.errors import UserError
from drf_jax.evaluation.extractor import Extractor
from drf_jax.evaluation.fidelity import psnr_to_reference, rmse_to_reference
from drf_jax.evaluation.latency import latency
from drf_jax.evaluation.reference import Reference, state_features
from drf_jax.evaluation.report import Row, row
from drf_jax.evaluation.score import over_seeds, score
from drf_jax.sampling.method import Method
from drf_jax.turns import shared
from drf_jax.typing import Cond, PRNGKeys, State

Draw = Callable[[Method, int], np.ndarray]
"""``(method, seed) -> samples [n, *state]``, or what each of them cost, ``[n, 2]``."""


def one_sample(data: Source) -> tuple[State, PRNGKeys, Cond]:
    """What a sampler is called with for one sample."""
    cond = jax.tree.map(jnp.asarray, condition_of(data, np.arange(1)))
    return jnp.zeros((1, *data.image_shape)), jax.random.split(jax.random.key(0), 1), cond


def batch_one_latency(method: Method, data: Source, repeats: int) -> float | None:
    """Median milliseconds of one sample alone, on one device; None where others share it (`drf_jax.turns`)."""
    if shared():
        return None
    args = one_sample(data)
    jax.block_until_ready(method.sampler(*args))
    return latency(method.sampler, *args, repeats=repeats)["p50_ms"]


def parameter_count(method: Method) -> int:
    """Parameters of the networks that a method runs; one that fills several slots counts once."""
    leaves = {id(leaf): leaf for leaf in jax.tree.leaves(method.sampler)}
    return sum(leaf.size for leaf in leaves.values() if jnp.ndim(leaf))


def cost_of(method: Method, measured: Sequence[Float[np.ndarray, "2"]]) -> dict[str, int | float]:
    """Calls and evaluations of one sample; means over the sets where they differ from sample to sample."""
    cost = (method.sequential_calls, method.network_evaluations)
    if method.cost is not None:
        cost = np.mean(measured, axis=0).tolist()
    return dict(zip(("sequential_calls", "network_evaluations"), cost, strict=True))


def numbers(
    states: Float[np.ndarray, "n *state"],
    teacher: Float[np.ndarray, "n *state"],
    extractor: Extractor,
    real: Reference,
    metrics: Sequence[str],
) -> dict[str, float | None]:
    """What is measured on one set of samples: row keys to numbers."""
    fidelity = rmse_to_reference(states, teacher)
    return score(state_features(extractor, states), real, metrics) | {
        "rmse_to_teacher": fidelity["mean"],
        "rmse_to_teacher_p50": fidelity["p50"],
        "rmse_to_teacher_p99": fidelity["p99"],
        "psnr_to_teacher": psnr_to_reference(states, teacher),
    }


def compare(
    methods: Sequence[Method],
    reference: Method,
    data: Source,
    extractor: Extractor,
    real: Callable[[], Reference],
    draw: Draw,
    count: Draw,
    spec: build.Evaluate,
    seed: int,
    known: Sequence[Row] = (),
    train_seconds: Mapping[str, float | None] | None = None,
    keep: Callable[[list[Row]], None] = lambda rows: None,
) -> list[Row]:
    """Rows of the results table.

    Args:
      methods: what to compare; ``reference`` (the teacher's serial sampler) need not be among them.
      extractor: feature network of the metrics.
      real: makes the real data's features; not called if every row is known.
      draw: samples of a method from the noises of a seed.
      count: the costs of these samples; not called for a method that has no ``cost``.
      spec: metrics, seed sets, and how often to time.
      seed: of the first set of samples.
      known: rows of an earlier evaluation that still hold; they are kept as they are.
      train_seconds: of the methods that were trained and recorded it.
      keep: gets all rows so far after each new one, so that a kill costs one at most.
    """
    kept = {r["method"]: r for r in known}
    rows = []
    for method in methods:
        if method.name in kept:
            rows.append(kept[method.name])
            continue
        sets, costs = [], []
        for each in range(seed, seed + spec.seeds):
            states, teacher = draw(method, each), draw(reference, each)
            try:
                sets.append(numbers(states, teacher, extractor, real(), spec.metrics))
            except UserError as error:
                raise UserError(f"{method.name}: {error}") from None
            if method.cost is not None:
                costs.append(count(method, each).mean(0))
        rows.append(
            row(
                dataset=data.name,
                method=method.name,
                mode=method.mode,
                **cost_of(method, costs),
                drafts=method.drafts,
                tolerance=method.tolerance,
                params=parameter_count(method),
                train_seconds=(train_seconds or {}).get(method.name),
                ms_batch1=batch_one_latency(method, data, spec.repeats),
                feature_space=extractor.feature_space,
                samples=spec.samples,
                seed=seed,
                seeds=spec.seeds if spec.seeds > 1 else None,
                **over_seeds(sets),
            )
        )
        print_row(rows[-1])
        keep(rows)
    return rows


def print_row(r: Row) -> None:
    distance = f"FD {r['fd']:8.3f}  " if "fd" in r else ""
    time = f"  {r['ms_batch1']:.2f} ms" if "ms_batch1" in r else ""
    print(
        f"{r['method']:28s} calls {r['sequential_calls']:5.4g}  {distance}"
        f"RMSE {r['rmse_to_teacher']:.4f}{time}",
        file=sys.stderr,
    )
