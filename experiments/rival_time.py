"""The time of one sample of many methods as a process: ``python rival_time.py OUT TEACHER CONFIG…``.

``CONFIG`` are JSON files of evaluations, as `rival_score` has them. Everything is compiled first, beside other such
processes; then they take turns, so that whoever times has the host for itself. ``OUT`` gets, for the stem of each file,
the milliseconds of each method.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from rival_process import exit_code

from drf_jax import build
from drf_jax.atomic import replacing
from drf_jax.evaluation.latency import latency
from drf_jax.runs.compare import one_sample
from drf_jax.runs.distil import load_distilled
from drf_jax.runs.teacher import Teacher, load_teacher
from drf_jax.sampling.method import Method
from drf_jax.turns import compiling, turn


def methods_of(config: Mapping[str, Any], teacher: Teacher) -> list[Method]:
    """What an evaluation compares, but for the teacher's own sampler."""
    spec, loop = build.evaluate(config), build.loop(teacher.config)
    made = build.methods(config, teacher.denoiser, teacher.data, loop)
    for folder in spec.students:
        made += [student.method for student in load_distilled(folder, teacher)]
    return made


def main(out: str, folder: str, *files: str) -> int:
    def act() -> None:
        configs = {Path(file).stem: json.loads(Path(file).read_text()) for file in files}
        teacher = load_teacher(folder)
        sample = one_sample(teacher.data)
        with compiling():
            methods = {name: methods_of(config, teacher) for name, config in configs.items()}
            for each in methods.values():
                jax.block_until_ready([method.sampler(*sample) for method in each])
        found: dict[str, dict[str, float]] = {}
        with turn():
            for name, each in methods.items():
                repeats = build.evaluate(configs[name]).repeats
                time = lambda method, n=repeats: latency(method.sampler, *sample, repeats=n)
                found[name] = {method.name: time(method)["p50_ms"] for method in each}
        with replacing(out) as file:
            file.write(json.dumps(found).encode())

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
