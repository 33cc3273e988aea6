"""What is in the prepared data sets and how fast they are read: one results file.

    python experiments/data_sets.py emoji fashion_mnist_idx --data_dir ~/data

writes ``results/data_sets.json``, from which ``report.py`` makes the tables of ``docs/data.md``; half a minute on 2 CPU
cores.
"""

import argparse
import shlex
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from drf_jax.data.pipeline import Batches, batches
from drf_jax.data.source import load_source
from drf_jax.evaluation.report import write_results

ROOT = Path(__file__).resolve().parents[1]
BATCH = 64


def images_per_second(batch: Batches, steps: range) -> float:
    """Speed at which these batches are made."""
    start = time.perf_counter()
    for step in steps:
        batch(step)
    return BATCH * len(steps) / (time.perf_counter() - start)


def facts(name: str, data_dir: str) -> dict[str, Any]:
    """The card of a data set, and the speed in the first and in the third epoch."""
    source = load_source(name, data_dir=data_dir)
    batch, epoch = batches(source, BATCH, seed=0), len(source) // BATCH
    card = asdict(source.card)
    del card["options"]  # paths of this machine
    return {
        "dataset": source.name,
        "first_epoch_images_per_second": images_per_second(batch, range(epoch)),
        "later_images_per_second": images_per_second(batch, range(2 * epoch, 3 * epoch)),
        **card,
    }


def main(names: list[str], data_dir: str) -> None:
    """Measures, then writes the results file."""
    data_sets = [facts(name, data_dir) for name in names]
    command = shlex.join(["python", "experiments/data_sets.py", *names])
    path = ROOT / "results" / "data_sets.json"
    write_results(path, [], {"batch": BATCH}, command, {"data_sets": data_sets})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help="of prepared data sets")
    parser.add_argument("--data_dir", required=True, help="where they were prepared")
    main(**vars(parser.parse_args()))
