"""The quality of a run in the feature space of the FID Inception, or in any other: one results file.

    python experiments/fid.py --config configs/fashion_mnist32.py --workdir runs/fashion_mnist/teacher \\
        --weights pt_inception-2015-12-05-6726825d.pth --out results/fashion_mnist_fid.json

Takes the methods of ``config.evaluate`` and the samples that `drf evaluate` has made already, if they are as many.
``--smoke`` needs no weights: 8 samples, 32 real images, one method, and an Inception with random weights; its rows say
"random-inception", and their numbers compare with nothing.
"""

import argparse
import shlex
import sys
from pathlib import Path

from ml_collections import ConfigDict

from drf_jax.cli.config_file import load_config
from drf_jax.errors import UserError
from drf_jax.evaluation.extractor import EXTRACTORS
from drf_jax.evaluation.random_inception import FEATURE_SPACE as RANDOM
from drf_jax.evaluation.resize import RESIZES
from drf_jax.evaluation.score import METRICS
from drf_jax.runs.evaluate import evaluate, table


def smoke(config: ConfigDict) -> None:
    """As little as possible, with random weights."""
    first = next(iter(config.evaluate.methods.items()), None)
    made = config.evaluate.to_dict() | {"samples": 8, "batch_size": 8, "real": 32, "repeats": 1}
    made |= {"methods": dict([first]) if first else {}, "students": (), "seeds": 1}
    made |= {"metrics": ("fd",), "feature_space": RANDOM, "features": "", "statistics": ""}
    config.evaluate = ConfigDict(made)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="of the run, as FILE or FILE:arg")
    parser.add_argument("--workdir", required=True, help="folder of the run")
    parser.add_argument("--out", required=True, help="results file to write")
    parser.add_argument("--weights", default="", help="of the feature network")
    parser.add_argument("--feature_space", choices=EXTRACTORS, help="an Inception unless given")
    parser.add_argument("--resize", choices=RESIZES, default="pytorch-fid")
    parser.add_argument("--metrics", default="fd,kid,precision_recall", help=", ".join(METRICS))
    parser.add_argument("--samples", type=int, help="config.evaluate's unless given")
    parser.add_argument("--seeds", type=int, default=1, help="sets of samples")
    parser.add_argument("--statistics", default="", help="of the real data, made by drf stats")
    parser.add_argument("--smoke", action="store_true", help="try it, without weights")
    given = parser.parse_args(arguments)
    try:
        config = load_config(given.config)
        made = {
            "feature_space": given.feature_space or f"inception-{given.resize}",
            "features": given.weights,
            "metrics": tuple(given.metrics.split(",")),
            "samples": given.samples or config.evaluate.samples,
            "seeds": given.seeds,
            "statistics": given.statistics,
        }
        config.evaluate = ConfigDict(config.evaluate.to_dict() | made)
        if given.smoke:
            smoke(config)
        command = shlex.join(["python", "experiments/fid.py", *arguments])
        print(table(evaluate(config, given.workdir, command, Path(given.out))))
    except UserError as error:
        print(f"fid: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
