"""Which part of the walk costs a student its quality: the teacher walks a part of it instead.

    drf unpack --model digits --workdir runs/digits --student runs/digits_student
    python experiments/handover.py --students runs/digits_student

At every node between two of a student's steps (``step``) or rounds (``draft_refine``), the one hands over to the other:

    teacher to t, then student     only what the student does from t on is lost
    student to t, then teacher     only what it does before t

FD is that of the teacher's data in the feature space of the run, or of the classifier that ``--features`` names; RMSE
is that of the final states to the teacher's own from the same noises. Guidance has the weight 1, or the lowest that the
student was shown. Prints a table; with a few hundred samples FD is too high by as much for every line.
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from drf_jax import build
from drf_jax.data.conditioning import condition_of
from drf_jax.errors import UserError
from drf_jax.evaluation.features import load_classifier
from drf_jax.evaluation.fidelity import rmse_to_reference
from drf_jax.evaluation.frechet import frechet_between
from drf_jax.evaluation.reference import source_statistics, state_features
from drf_jax.evaluation.statistics import statistics_of
from drf_jax.noise import initial_noise, sample_keys
from drf_jax.objectives.guidance import KEY
from drf_jax.process.gaussian import prior
from drf_jax.runs.distil import load_stages
from drf_jax.runs.distillation.draft_refine import DraftRefineStage
from drf_jax.runs.distillation.step import StepStage
from drf_jax.runs.features import extractor_of
from drf_jax.runs.keys import SAMPLE, root_key
from drf_jax.runs.teacher import Teacher, load_teacher
from drf_jax.sampling import driffusion, serial
from drf_jax.sampling.grid import make_grid
from drf_jax.sampling.method import compile_for
from drf_jax.sampling.step import DDIM
from drf_jax.workdir import read_config

BATCH = 64
States = Float[np.ndarray, "n *state"]
Part = Callable[[jax.Array, Any], jax.Array]
"""``(states, cond) -> states`` a part of the walk later."""
HEAD = ("walk", "FD", "RMSE to teacher", "p99")


class Walks:
    """What the teacher and a student do between the ``nodes``, which are steps of the teacher's grid."""

    def __init__(self, stage: Any, params: Any, teacher: Teacher):
        if not isinstance(stage, StepStage | DraftRefineStage) or stage.calls[0] < 2:
            raise UserError("only step and draft_refine students of 2 calls or more walk in parts")
        self._stage, self._teacher = stage, teacher
        self._process, self._loop = teacher.denoiser.process, build.loop(teacher.config)
        self._grid = make_grid(stage.walk.grid, self._process, stage.walk.steps)
        weight = stage.pair.guidance[0]
        self._told = {KEY: weight} if stage.pair.guided else {}
        self._denoiser = build.guided(teacher.denoiser, weight, teacher.data)
        if isinstance(stage, StepStage):
            self._networks, each = stage.denoiser(params, weight), 1
        else:
            self._networks = stage.slots(params)
            if self._networks[0].initial_calls or self._networks[0].anchored:
                raise UserError(
                    f"{stage.mode.name}: its rounds pass on more than a state, which a teacher does not have"
                )
            each = stage.student.steps
        self.nodes = stage.walk.kept[::each]

    def time(self, i: int) -> float:
        return float(self._grid[self.nodes[i]])

    def start(self, noise: jax.Array) -> jax.Array:
        return prior(self._process, noise, self._grid[0])

    def teacher(self, first: int, last: int) -> Part:
        grid = self._grid[self.nodes[first] : self.nodes[last] + 1]

        def run(denoiser, x, cond):
            return serial.sample(DDIM(), denoiser, self._process, grid, x, cond, loop=self._loop)

        return jax.tree_util.Partial(compile_for(self._loop, run), self._denoiser)

    def student(self, first: int, last: int) -> Part:
        stage, loop = self._stage, self._loop

        def steps(denoiser, x, cond):
            grid = stage.times[first : last + 1]
            return serial.sample(DDIM(), denoiser, self._process, grid, x, cond, loop=loop)

        def rounds(slots, x, cond):
            every = driffusion.make_rounds(stage.times, stage.spec.drafts, slots[0].extra_steps)
            mine = dataclasses.replace(every, times=every.times[first:last])
            told = {key: jnp.full(len(x), weight) for key, weight in self._told.items()}
            options = {"form": stage.spec.form, "loop": loop}
            return driffusion.sample(*slots, self._process, mine, x, cond | told, **options).x

        run = steps if isinstance(stage, StepStage) else rounds
        return jax.tree_util.Partial(compile_for(loop, run), self._networks)


def handed_over(walks: Walks, teacher: Teacher, samples: int) -> dict[str, States]:
    """Final states of every line of the table; the first is the teacher alone, the last the student."""
    data, last = teacher.data, len(walks.nodes) - 1
    parts = 4 * last - 2
    bar = tqdm(total=parts * samples, desc="walks", unit="img", disable=None)

    def through(part: Part, states: States) -> States:
        made = []
        for i in range(0, samples, BATCH):
            index = np.arange(i, min(i + BATCH, samples))
            made.append(np.asarray(part(jnp.asarray(states[index]), condition_of(data, index))))
            bar.update(len(index))
        return np.concatenate(made)

    noise = initial_noise(
        sample_keys(root_key(0, SAMPLE), np.arange(samples)), tuple(data.image_shape)
    )
    teachers, students = [np.asarray(walks.start(noise))], [np.asarray(walks.start(noise))]
    with bar:
        for i in range(last):
            teachers.append(through(walks.teacher(i, i + 1), teachers[-1]))
            students.append(through(walks.student(i, i + 1), students[-1]))
        found = {"teacher": teachers[-1]}
        for i in reversed(range(1, last)):
            found[f"teacher to t = {walks.time(i):.2f}, then student"] = through(
                walks.student(i, last), teachers[i]
            )
        for i in range(1, last):
            found[f"student to t = {walks.time(i):.2f}, then teacher"] = through(
                walks.teacher(i, last), students[i]
            )
    return found | {"student": students[-1]}


def lines(student: str, samples: int, features: str) -> list[tuple[str, float, float, float]]:
    """The table of one student's folder.

    Raises:
      UserError: it is no such run, or its rounds pass on more than a state.
    """
    config = read_config(student)
    teacher = load_teacher(config["teacher"])
    _, stages, params = load_stages(config, Path(student), teacher)
    try:
        walks = Walks(stages[0], params[0], teacher)
    except UserError as error:
        raise UserError(f"--students {student}: {error}") from None
    spec = build.evaluate(teacher.config)
    folder = Path(config["teacher"])
    extractor = (
        load_classifier(features)
        if features
        else extractor_of(spec, folder, teacher.data, teacher.config)
    )
    real = source_statistics(extractor, teacher.data, range(len(teacher.data)))
    found, table = handed_over(walks, teacher, samples), []
    for name, states in found.items():
        fd = frechet_between(statistics_of(state_features(extractor, states)), real)
        error = rmse_to_reference(states, found["teacher"])
        table.append((name, fd, error["mean"], error["p99"]))
    return table


def main(arguments: list[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--students", required=True, help="folders of runs, with commas")
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--features", default="", help="a classifier's file")
    given = parser.parse_args(arguments)
    try:
        for student in given.students.split(","):
            table = lines(student, given.samples, given.features)
            print(f"\n{Path(student).name}, {given.samples:,} samples:\n")
            print(f"| {' | '.join(HEAD)} |\n| :--- |{' ---: |' * (len(HEAD) - 1)}")
            for name, *numbers in table:
                print(f"| {' | '.join([name, *(f'{x:.3g}' for x in numbers)])} |", flush=True)
    except UserError as error:
        print(f"handover: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
