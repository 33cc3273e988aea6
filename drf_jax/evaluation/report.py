"""One schema for every result: rows of checked keys, in one JSON file with its circumstances.

    {"rows": [...], "device": ..., "jax": ..., "git": ..., "command": ..., "config": {...}}

What does not apply to a row is left out, never zero. Tables and figures are made from these files. A file that was made
in parts has its circumstances in the rows that were made under others.
"""

import json
import math
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from drf_jax.atomic import replacing
from drf_jax.errors import UserError

Row = dict[str, str | int | float]

KEYS: dict[str, str] = {
    "dataset": "name of the source",
    "method": "name of the sampler; starts with its family",
    "ablation": "what was changed to make this row, by name",
    "mode": "conservative or aggressive, or another named variant",
    "sequential_calls": "network calls that wait for one another (depth)",
    "sequential_calls_p95": "their 95th percentile over the samples, where a tolerance decides",
    "network_evaluations": "network evaluations of one sample (NFE)",
    "drafts": "states in one parallel call: drafts K, a window, blocks; 0: the sampler is serial",
    "refinements": "refinement passes in one round, m",
    "tolerance": "error at which a sample stops refining; calls are then means",
    "form": "reuse step of the refinement, noise or data",
    "draft_form": "reuse step of the drafts, where it is not ``form``",
    "relaxation": "factor of a hybrid's last step (`drf_jax.sampling.distilled`)",
    "grid": "times of the steps, as in config.sampler.grid",
    "order": "predictions that a draft is extrapolated through; 1 holds the newest still",
    "rounds": "draft-refine rounds",
    "devices": "accelerators used for one batch",
    "resolution": "image side in pixels",
    "batch": "samples in one timed call",
    "params": "parameters of the networks that the sampler runs",
    "weights": "where the parameters come from, if not from training",
    "cross_draft": "blocks with attention between the drafts, and its width; of published sizes",
    "xla_flags": "what XLA_FLAGS was, where it matters",
    "train_seconds": "training time on top of the teacher's",
    "samples": "samples that were scored",
    "seed": "of sampling; of training, too, where ``command`` names no other",
    "seeds": "sets of samples, from seed on; every number is the mean over them",
    "feature_space": "where fd, kid, precision and recall are measured",
    "fd": "Fréchet distance to the data",
    "fd_sd": "its standard deviation over the seed sets",
    "judge": "a second feature space, where fd_judge is measured",
    "fd_judge": "Fréchet distance to the data in that space",
    "fd_judge_sd": "its standard deviation over the seed sets",
    "fd_class_mean": "mean over classes of the Fréchet distance to the data of the class",
    "fd_class_worst": "largest of these",
    "kid": "kernel distance to the data",
    "kid_sd": "its standard deviation over the seed sets; of one set, over subsets",
    "precision": "part of the samples inside the data's manifold",
    "precision_sd": "its standard deviation over the seed sets",
    "recall": "part of the data inside the samples' manifold",
    "recall_sd": "its standard deviation over the seed sets",
    "recall_of_teacher": "part of the teacher's samples from other noises inside the samples' manifold",
    "density": "how many of the data's neighbourhoods a sample is in, per neighbour",
    "density_sd": "its standard deviation over the seed sets",
    "coverage": "part of the data with a sample in their neighbourhood",
    "coverage_sd": "its standard deviation over the seed sets",
    "nearest_ratio": "distance to the training data, samples' median over held-out data's",
    "suspicious_share": "part of the samples as near to the training data as 1% of held-out data",
    "rmse_to_teacher": "mean over samples of the RMSE to the teacher's sample",
    "rmse_to_teacher_sd": "its standard deviation over the seed sets",
    "rmse_to_teacher_p50": "its median",
    "rmse_to_teacher_p99": "its 99th percentile",
    "rmse_to_teacher_max": "its maximum",
    "rmse_to_teacher_rms": "its root mean square, which a few far samples rule",
    "rmse_to_ode": "mean over samples of the RMSE to the exact solution of the sampling ODE",
    "psnr_to_teacher": "mean over samples of the PSNR to the teacher's sample, in dB",
    "ms_batch1": "median milliseconds of one sample alone",
    "p50_ms": "median milliseconds of one call at ``batch``",
    "p95_ms": "95th percentile of the same",
    "network": "backbone, where it is not the data set's own",
    "attention": "backend of self-attention",
    "matrices": "how weights are kept and multiplied: float32, int8 weights, int8 products",
    "guidance": "weight of classifier-free guidance; 1 is none",
    "decoder": "what turns latents into images within the timed call",
    "images_per_second": "samples over the median time of a call",
    "compile_seconds": "first start: tracing, lowering, compiling",
    "warm_seconds": "a later start: the same from the persistent cache",
    "over_call": "compile_seconds over those of one call of the network",
    "first_image_seconds": "first start, and the first image",
    "warm_image_seconds": "a later start from the persistent cache, and the first image",
    "memory_bytes": "arguments, results and temporaries of the program on one device",
    "mfu": "operations a second over those of a large matrix product, measured on the same device",
    "speedup": "median time of serial DDIM on one device over this row's",
    "share_of_theory": "speedup over that of the network calls alone, were evaluations free in parallel",
    "exchanged_bytes": "what a device receives from the others in one round",
    "command": "what makes this row, where it is not the file's own",
    "device": "where it was made, where it is not the file's own",
    "jax": "version, the same",
    "git": "commit, the same",
}
CIRCUMSTANCES = ("device", "jax", "git")

FAMILIES = (
    *("ddim", "ddpm", "heun", "dpmpp-2m", "unipc", "paradigms", "srds", "progressive"),
    *("step-distilled", "consistency-distillation", "consistency-training", "lcm", "lcm-half"),
    *("lcm-lora", "adversarial", "pfgmpp", "driffusion-conservative", "driffusion-aggressive"),
    *("driffusion-anchored", "learned", "learned-aggressive", "learned-anchored", "hybrid"),
    *("hybrid-step", "hybrid-progressive", "hybrid-lcm", "hybrid-tuned"),
)


def row(**values: Any) -> Row:
    """A result row; a value of None does not apply and is left out.

    Raises:
      UserError: a key is not in ``KEYS``, ``method`` is missing, or a number is not finite.
    """
    for key in values:
        if key not in KEYS:
            raise UserError(f"result key {key!r} is unknown; known: {', '.join(KEYS)}")
    # NumPy and JAX scalars have .item(); JSON wants Python's own numbers.
    plain = {
        key: value.item() if hasattr(value, "item") else value
        for key, value in values.items()
        if value is not None
    }
    if "method" not in plain:
        raise UserError("a result row needs the key 'method'")
    for key, value in plain.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"result {key} = {value} of {plain['method']} must be finite")
    return plain


def family(method: str) -> str:
    """The longest known family that the name starts with; the name itself if there is none."""
    return max((f for f in FAMILIES if method.startswith(f)), key=len, default=method)


def circumstances() -> dict[str, str]:
    """Of what is made now: ``CIRCUMSTANCES``."""
    device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    return {"device": device, "jax": jax.__version__, "git": git_commit()}


def with_circumstances(results: Mapping[str, Any]) -> list[Row]:
    """The rows of a results file, each with where it was made: to go into a file with others."""
    own = {key: results[key] for key in CIRCUMSTANCES if key in results}
    return [own | each for each in results["rows"]]


def write_results(
    path: str | os.PathLike,
    rows: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
    command: str,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write the results file at once; ``extra`` goes beside the fixed keys.

    The circumstances of the file are those of its rows, if all have the same, and otherwise this process's.

    Raises:
      UserError: a row does not pass ``row``, or ``extra`` takes a fixed key.
    """
    here = circumstances()
    made = [here | row(**values) for values in rows]
    found = {tuple(values[key] for key in CIRCUMSTANCES) for values in made}
    own = dict(zip(CIRCUMSTANCES, found.pop(), strict=True)) if len(found) == 1 else here
    results = {
        "rows": [
            {key: value for key, value in values.items() if (key, value) not in own.items()}
            for values in made
        ],
        **own,
        "command": command,
        "config": dict(config),
    }
    taken = sorted(results.keys() & (extra or {}).keys())
    if taken:
        raise UserError(f"extra results must not use the keys {', '.join(taken)}")
    text = json.dumps(results | dict(extra or {}), indent=1, allow_nan=False, ensure_ascii=False)
    with replacing(path) as file:
        file.write((text + "\n").encode())


def read_results(path: str | os.PathLike) -> dict[str, Any]:
    """Read what ``write_results`` wrote, and check its rows.

    Raises:
      UserError: the file is missing, damaged, or not of this schema.
    """
    try:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
        results["rows"] = [row(**values) for values in results["rows"]]
    except FileNotFoundError:
        raise UserError(f"results file {os.fspath(path)} does not exist") from None
    except UserError as error:
        raise UserError(f"results file {os.fspath(path)}: {error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{os.fspath(path)} is not a results file: {error}") from error
    return results


def markdown_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | Mapping[str, str]
) -> str:
    """A Markdown table of the rows, numbers right-aligned; what a row leaves out shows as "–".

    A number whose row has its standard deviation (``fd`` and ``fd_sd``) shows as "mean ± sd".

    Args:
      rows: result rows.
      columns: keys in order, or key -> heading.

    Raises:
      UserError: a column is not a result key.
    """
    headings = dict(columns) if isinstance(columns, Mapping) else {key: key for key in columns}
    for key in headings:
        if key not in KEYS:
            raise UserError(f"table column {key!r} is unknown; known: {', '.join(KEYS)}")
    text = {key: any(isinstance(r.get(key), str) for r in rows) for key in headings}
    lines = [
        list(headings.values()),
        [":---" if text[key] else "---:" for key in headings],
        *([_cell(r.get(key), r.get(f"{key}_sd")) for key in headings] for r in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def git_commit() -> str:
    """Short commit of the checkout that this package runs from, with "-dirty"; or "unknown".

    What is written down, results and docs, makes nothing dirty: an experiment may save while it runs. Where the package
    is a copy without its history, the environment variable ``DRF_COMMIT`` says the commit.
    """
    if told := os.environ.get("DRF_COMMIT"):
        return told
    root = Path(__file__).resolve().parents[2]
    try:
        top, commit, changes = (
            subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, check=True, text=True
            ).stdout.strip()
            for words in (
                ["rev-parse", "--show-toplevel"],
                ["rev-parse", "--short", "HEAD"],
                ["diff", "--name-only", "HEAD", "--", ":/", ":!/results", ":!/docs"],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    # A package installed inside some other checkout must not take that one's commit.
    if Path(top) != root:
        return "unknown"
    return f"{commit}-dirty" if changes else commit


def _cell(value: Any, deviation: float | None = None) -> str:
    if deviation is not None:
        return f"{_cell(value)} ± {deviation:.2g}"
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else value.replace("|", "\\|")
