"""One row for every method: what is measured on its samples, against the data and against the teacher."""

import contextlib
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from drf_jax import build
from drf_jax.data.conditioning import condition_of
from drf_jax.data.source import Source
from drf_jax.errors import UserError
from drf_jax.evaluation.fidelity import psnr, rmse, summary
from drf_jax.evaluation.latency import latency
from drf_jax.evaluation.reference import Reference
from drf_jax.evaluation.report import Row, row
from drf_jax.evaluation.score import over_seeds, score
from drf_jax.sampling.method import Method
from drf_jax.turns import shared
from drf_jax.typing import Cond, PRNGKeys, State

Features = Float[np.ndarray, "n d"]


class Taken(NamedTuple):
    """What is taken of a method's samples of one seed; all that needs an accelerator but the time of one sample."""

    states: Float[np.ndarray, "n *state"]
    teacher: Float[np.ndarray, "n *state"]
    """The reference's, from the same noises."""
    features: Features
    judged: Features | None
    """The same in the judge's space, where there is a judge."""
    cost: Float[np.ndarray, "2"] | None
    """Mean calls and evaluations of a method that has a ``cost``."""


@contextlib.contextmanager
def naming(method: Method) -> Iterator[None]:
    """A user's mistake in the block is said to be of this method."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{method.name}: {error}") from None


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


def cost_of(
    method: Method, measured: Sequence[Float[np.ndarray, "2"] | None]
) -> dict[str, int | float]:
    """Calls and evaluations of one sample; means over the sets where they differ from sample to sample."""
    cost = (method.sequential_calls, method.network_evaluations)
    if method.cost is not None:
        cost = np.mean(measured, axis=0).tolist()
    return dict(zip(("sequential_calls", "network_evaluations"), cost, strict=True))


def numbers(
    states: Float[np.ndarray, "n *state"],
    teacher: Float[np.ndarray, "n *state"],
    features: Features,
    real: Reference,
    metrics: Sequence[str],
    judged: Mapping[str, float] = types.MappingProxyType({}),
) -> dict[str, float | None]:
    """What is measured on one set of samples: row keys to numbers; ``judged`` is what the judge says."""
    errors = rmse(states, teacher)
    fidelity = summary(errors)
    return (
        score(features, real, metrics)
        | dict(judged)
        | {
            "rmse_to_teacher": fidelity["mean"],
            "rmse_to_teacher_p50": fidelity["p50"],
            "rmse_to_teacher_p99": fidelity["p99"],
            "psnr_to_teacher": psnr(errors),
        }
    )


def compare(
    methods: Sequence[Method],
    data: Source,
    feature_space: str,
    take: Callable[[Method, int], Taken],
    real: Callable[[], Reference],
    spec: build.Evaluate,
    seed: int,
    known: Sequence[Row] = (),
    train_seconds: Mapping[str, float | None] | None = None,
    keep: Callable[[list[Row]], None] = lambda rows: None,
    judge: Callable[[Features], dict[str, float]] = lambda features: {},
) -> list[Row]:
    """Rows of the results table.

    Args:
      methods: what to compare.
      feature_space: of the features.
      take: the samples of a method from the noises of a seed, and what they are compared with.
      real: makes the real data's features; not called if every row is known.
      spec: metrics, seed sets, and how often to time.
      seed: of the first set of samples.
      known: rows of an earlier evaluation that still hold; they are kept as they are.
      train_seconds: of the methods that were trained and recorded it.
      keep: gets all rows so far after each new one, so that a kill costs one at most.
      judge: what is measured in the space of ``spec.judge``, of the samples' features there.
    """
    kept = {r["method"]: r for r in known}
    rows = []
    for method in methods:
        if method.name in kept:
            rows.append(kept[method.name])
            continue
        taken = [take(method, each) for each in range(seed, seed + spec.seeds)]
        with naming(method):
            says = lambda each: {} if each.judged is None else judge(each.judged)
            sets = [numbers(*each[:3], real(), spec.metrics, says(each)) for each in taken]
        rows.append(
            row(
                dataset=data.name,
                method=method.name,
                mode=method.mode,
                **cost_of(method, [each.cost for each in taken]),
                drafts=method.drafts,
                tolerance=method.tolerance,
                params=parameter_count(method),
                train_seconds=(train_seconds or {}).get(method.name),
                ms_batch1=batch_one_latency(method, data, spec.repeats),
                feature_space=feature_space,
                judge=spec.judge or None,
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
