"""The demonstration: teacher, two students, one table and one picture, on the embedded digits.

    <out>/teacher     DDIM teacher                     <out>/results.json   the table
    <out>/learned-8   student with 8 sequential calls  <out>/samples.png    the picture
    <out>/learned-4   student with 4

Every part resumes, so a second run only prints the table.
"""

import sys
from pathlib import Path

from drf_jax.configs import digits, digits_learned
from drf_jax.evaluation.figure import quality_figure
from drf_jax.evaluation.report import Row
from drf_jax.runs.distil import train_distilled
from drf_jax.runs.evaluate import evaluate
from drf_jax.runs.teacher import train_teacher

CALLS = (8, 4)


def demo(out: str | Path, arg: str = "", command: str = "drf demo") -> list[Row]:
    """Run everything; ``arg`` is passed to the configs (``smoke``)."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    config = digits.get_config(arg)
    config.evaluate.students = tuple(str(out / f"learned-{calls}") for calls in CALLS)
    say(f"1/4 teacher: {config.train.steps} updates")
    train_teacher(config, out / "teacher")
    for i, calls in enumerate(CALLS):
        student = digits_learned.get_config(",".join(filter(None, (f"calls={calls}", arg))))
        student.teacher = str(out / "teacher")
        say(f"{i + 2}/4 student with {calls} sequential calls: {student.train.steps} updates")
        train_distilled(student, out / f"learned-{calls}")
    say(f"4/4 evaluation: {config.evaluate.samples} samples of each method")
    rows = evaluate(config, out / "teacher", command)
    for name in ("results.json", "samples.png"):
        (out / name).write_bytes((out / "teacher" / name).read_bytes())
    quality_figure(out / "quality.png", rows)
    return rows


def say(text: str) -> None:
    print(text, file=sys.stderr)
