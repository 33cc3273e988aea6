"""The time of one sample of many methods as a process: ``python rival_time.py OUT TEACHER ASKED…``.

``ASKED`` are JSON files of what is to be timed: ``{"methods": ...}``, training-free samplers as ``config.evaluate`` has
them, or ``{"student": ...}``, the config of a student. A student need not be there: the time of a network does not
depend on its weights, so it is timed with zeros, and all rows of a table can be timed in one process, whenever and
wherever they were made. Everything is compiled first, beside other such processes; then they take turns, so that
whoever times has the host for itself. ``OUT`` gets, for the stem of each file, the milliseconds of each method, and
where that was.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rival_process import exit_code

from drf_jax import build
from drf_jax.atomic import replacing
from drf_jax.evaluation.latency import latency
from drf_jax.evaluation.report import circumstances
from drf_jax.runs import cores
from drf_jax.runs.compare import one_sample
from drf_jax.runs.distil import stage_shapes, stages_of
from drf_jax.runs.distillation.rows import rows
from drf_jax.runs.teacher import Teacher, load_teacher
from drf_jax.sampling.loops import COMPILED
from drf_jax.sampling.method import Method
from drf_jax.sampling.side_by_side import compile_side_by_side, workers
from drf_jax.turns import compiling, turn


def methods_of(asked: Mapping[str, Any], teacher: Teacher) -> list[Method]:
    """What is to be timed; a student's networks are zero."""
    if "methods" in asked:
        config = {**teacher.config, "evaluate": {**teacher.config["evaluate"], **asked}}
        return build.methods(config, teacher.denoiser, teacher.data, build.loop(config))
    setting, stages = stages_of(asked["student"], teacher)
    shapes = stage_shapes(stages, teacher.denoiser.params)
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    evaluation = build.evaluate(asked["student"])
    return [method for method, _ in rows(evaluation, setting, stages, params)]


def main(out: str, folder: str, *files: str) -> int:
    def act() -> None:
        asked = {Path(file).stem: json.loads(Path(file).read_text()) for file in files}
        teacher = load_teacher(folder)
        sample, repeats = one_sample(teacher.data), build.evaluate(teacher.config).repeats
        with compiling():
            made = {name: methods_of(each, teacher) for name, each in asked.items()}
            every = [method.sampler for methods in made.values() for method in methods]
            if build.loop(teacher.config) is COMPILED:
                compile_side_by_side(
                    [(sampler, sample) for sampler in every], workers(cores.count())
                )
            for sampler in every:
                jax.block_until_ready(sampler(*sample))
        found: dict[str, dict[str, dict[str, Any]]] = {}
        with turn():
            for name, methods in made.items():
                found[name] = {
                    method.name: {
                        "ms": latency(method.sampler, *sample, repeats=repeats)["p50_ms"],
                        "evaluations": None if method.cost else method.network_evaluations,
                    }
                    for method in methods
                }
        where = circumstances()
        with replacing(out) as file:
            file.write(json.dumps({"milliseconds": found, "where": where}).encode())

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
