"""How much better a student does on the trajectories that it was trained on than on others of the same teacher.

    drf unpack --model digits --workdir runs/digits --student runs/digits_student
    python experiments/overfitting.py --students runs/digits_student

A student of cached trajectories (``draft_refine…``, ``step``) has seen a few thousand noises many times, each with one
condition and one guidance weight. Its error is the RMSE of its final state to the teacher's: on the first ``--samples``
of them, and on as many other noises with the same conditions. Were both the same, more trajectories would change
nothing; where the second is much larger, the student has learned its trajectories by heart, and needs more of them
(``config.method.trajectories``) before anything else.

Prints a table, one line for each student. ``--runs`` keeps the teacher's walks.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from drf_jax import build
from drf_jax.errors import UserError
from drf_jax.evaluation.fidelity import rmse
from drf_jax.evaluation.generate import Sampler, generate
from drf_jax.objectives.guidance import KEY
from drf_jax.runs.distil import load_stages
from drf_jax.runs.keys import TRAJECTORY, root_key
from drf_jax.runs.teacher import Teacher, load_teacher
from drf_jax.runs.trajectories import Walk, guidance_weights, teacher_trajectories
from drf_jax.workdir import read_config

ROOT = Path(__file__).resolve().parents[1]
BATCH = 64
OTHER = 2**20
"""Added to the seed of a student's trajectories, for others."""
HEAD = ("student", "trajectories", "updates", "RMSE, its own", "p99", "RMSE, others", "p99")


def at_any_weight(
    stage: Any, params: Any, calls: int, low: float, high: float
) -> Callable[[float], Sampler]:
    """Guidance weight -> sampler, compiled once: that of ``low``, with another number where ``high`` has one."""
    leaves, tree = jax.tree.flatten(stage.method(params, calls, low).sampler)
    others = jax.tree.leaves(stage.method(params, calls, high).sampler)
    differ = [a is not b and bool(jnp.any(a != b)) for a, b in zip(leaves, others, strict=True)]

    def at(weight):
        put = lambda leaf, here: jnp.asarray(weight, leaf.dtype) if here else leaf
        return jax.tree.unflatten(tree, map(put, leaves, differ))

    return at


def errors(
    stage: Any, params: Any, teacher: Teacher, walk: Walk, seed: int, samples: int, path: Path
) -> Float64[np.ndarray, "n"]:
    """RMSE of a student's final states to the teacher's, on the first trajectories of a seed, kept in ``path``."""
    shape, (calls,), batch = teacher.data.image_shape, stage.calls, min(BATCH, samples)
    made = teacher_trajectories(teacher, walk, path, seed, samples, batch, "float32")
    index, root = np.arange(samples), root_key(seed, TRAJECTORY)
    if walk.guidance == build.UNGUIDED:
        method = stage.method(params, calls, 1.0)
        states = generate(method.sampler, root, index, shape, made.cond, batch)
    else:
        at = at_any_weight(stage, params, calls, *walk.guidance)
        weights = guidance_weights(*walk.guidance, samples, seed)
        cond = lambda i: {k: v for k, v in made.cond(i).items() if k != KEY}
        each = [generate(at(weights[i]), root, index[i : i + 1], shape, cond, 1) for i in index]
        states = np.concatenate(each)
    return rmse(states, made.states[:, -1])


def compared(student: str, samples: int, runs: Path) -> tuple[str | float, ...]:
    """The line of one student's folder.

    Raises:
      UserError: it is no run of a student of cached trajectories, or has seen fewer than ``samples``.
    """
    config = read_config(student)
    teacher = load_teacher(config["teacher"])
    _, stages, params = load_stages(config, Path(student), teacher)
    count = config["method"].get("trajectories", 0)
    if count < samples:
        raise UserError(
            f"--students {student}: {config['method']['name']} was trained on {count} cached trajectories; at least"
            f" {samples} are compared (--samples)"
        )
    stage, own = stages[0], stages[0].walk
    walk, line = Walk(own.grid, own.steps, 1, own.guidance), []
    for seed in (config["seed"], config["seed"] + OTHER):
        path = runs / f"{teacher.sha256[:12]}-{seed}-{samples}.npy"
        found = errors(stage, params[0], teacher, walk, seed, samples, path)
        line += [float(found.mean()), float(np.percentile(found, 99))]
    return Path(student).name, count, config["train"]["steps"], *line


def main(arguments: list[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--students", required=True, help="folders of runs, with commas")
    parser.add_argument("--samples", type=int, default=1024, help="trajectories of each kind")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "overfitting")
    given = parser.parse_args(arguments)
    print(f"| {' | '.join(HEAD)} |\n| :--- |{' ---: |' * (len(HEAD) - 1)}")
    try:
        for student in given.students.split(","):
            name, count, updates, *found = compared(student, given.samples, given.runs)
            cells = [name, f"{count:,}", f"{updates:,}", *(f"{x:.3g}" for x in found)]
            print(f"| {' | '.join(cells)} |", flush=True)
    except UserError as error:
        print(f"overfitting: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
