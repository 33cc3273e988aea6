"""What is asked for of a table of students at equal training seconds, and the students of the table of all rivals."""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from absl import flags

from drf_jax import build
from drf_jax.cli.config_file import load_config
from drf_jax.errors import UserError
from drf_jax.evaluation.extractor import WITHOUT_FILE
from drf_jax.runs.processes import NOTHING, Deadline

ROOT = Path(__file__).resolve().parents[1]
CALLS = (1, 2, 4, 8)
ANY_DEPTH = {"evaluate.calls": CALLS}
STUDENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "learned-4": ("draft_refine,calls=4", {}),
    "learned-aggressive-4": ("draft_refine_aggressive,calls=4", {}),
    "learned-anchored-4": ("draft_refine_anchored,calls=4", {}),
    "step-4": ("step,calls=4", {"evaluate.hybrid.rounds": (4,)}),
    "consistency_distillation": ("consistency_distillation", ANY_DEPTH),
    "progressive": ("progressive", {}),
    "lcm": ("lcm", ANY_DEPTH),
    "adversarial": ("adversarial", {}),
    "consistency_training": ("consistency_training", ANY_DEPTH),
    "lcm_lora": ("lcm_lora", ANY_DEPTH),
    "pfgmpp": ("pfgmpp", ANY_DEPTH),
    "learned-2": ("draft_refine,calls=2", {}),
    "learned-aggressive-2": ("draft_refine_aggressive,calls=2", {}),
    "learned-anchored-2": ("draft_refine_anchored,calls=2", {}),
    "step-2": ("step,calls=2", {"evaluate.hybrid.rounds": (2,)}),
    "learned-8": ("draft_refine,calls=8", {}),
    "learned-aggressive-8": ("draft_refine_aggressive,calls=8", {}),
    "learned-anchored-8": ("draft_refine_anchored,calls=8", {}),
    "step-8": ("step,calls=8", {}),
    "step-1": ("step,calls=1", {"evaluate.hybrid.rounds": (1,)}),
}
"""Name -> the config's method, and the rows beyond the config's own."""
REFINED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "hybrid-tuned": (
        "lcm",
        "pfgmpp",
        {"evaluate.row": "lcm-half", "evaluate.calls": (1,), "evaluate.hybrid.row": "hybrid-tuned"},
    ),
}
"""Name -> the method of a drafter, that of the teacher's network trained on, which refines, and what differs in the
rows. Each of the two has half of the seconds."""
SMOKE = (*(name for name in STUDENTS if name[-1] not in "128"), *REFINED)
FREE = "training-free"
SPARE = 20.0
"""Seconds before the deadline at which everything stops."""


class Student(NamedTuple):
    """A training: a config as ``--config`` has it, dotted keys that differ, and the student that is trained before it,
    whose folder this one is told by ``key``: each then has half of the seconds."""

    spec: str
    changes: dict[str, Any]
    source: "Student | None" = None
    key: str = "method.source"


@dataclasses.dataclass(frozen=True)
class Options:
    """What is asked for; the first six decide the rows. ``environment`` is that of the processes."""

    data: str
    seconds: float
    arg: str = ""
    samples: int = 0
    seed: int = 0
    smoke: bool = False
    teacher: str = ""
    data_dir: str = ""
    teacher_seconds: float = 0.0
    teacher_updates: int = 0
    only: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    updates: int = 0
    published: bool = False
    judge: str = ""
    jobs: int = 1
    accelerators: int = 1
    timing: bool = True
    environment: Mapping[str, str] = dataclasses.field(default_factory=lambda: NOTHING)
    out: Path = Path()
    runs: Path = Path()
    deadline: Deadline = dataclasses.field(default_factory=Deadline)
    script: ClassVar[str] = "rivals"

    @property
    def file(self) -> str:
        """The table's."""
        return f"rivals_{self.data}{self.suffix}.json"

    @property
    def suffix(self) -> str:
        """What tells the table, and its runs, from others of the same data: of other seeds than 0."""
        return f"_seed{self.seed}" if self.seed else ""

    @property
    def every(self) -> int:
        """Updates of a line of a probe."""
        return 2 if self.smoke else 10

    @property
    def statistics(self) -> Path:
        """Of the data's features."""
        return self.runs / "statistics.npz"

    @property
    def judge_statistics(self) -> Path:
        """The same of the judge's."""
        return self.runs / f"statistics_{self.judge}.npz"

    @property
    def adversary(self) -> Path:
        """The classifier that an adversarial or perceptual training looks through."""
        return self.runs / "adversary.npz"

    def spec(self, suffix: str = "", arg: str = "") -> str:
        """A config of the data set, as ``--config`` has it."""
        name = "_".join(filter(None, (self.data, suffix)))
        words = ",".join(filter(None, (arg, "smoke" if self.smoke else "")))
        return f"{ROOT / 'configs' / name}.py:{words}"

    def identity(self) -> dict[str, Any]:
        names = ("data", "seconds", "arg", "samples", "seed", "smoke")
        return {name: getattr(self, name) for name in names}


def say(text: str) -> None:
    print(f"{Path(sys.argv[0]).stem}: {text}", file=sys.stderr, flush=True)


def offered(o: Options) -> dict[str, Student]:
    """The students that the data set's configs have."""
    found, of = {}, lambda method: o.spec("distilled", f"method={method}")
    for name, (method, changes) in STUDENTS.items():
        if o.smoke and name not in SMOKE:
            continue
        spec = of(method)
        try:
            looks = looks_through_classifier(load_config(spec))
        except UserError as error:
            say(f"{name} is not offered: {error}")
            continue
        adversary = {"method.features": str(o.adversary)} if looks else {}
        found[name] = Student(spec, changes | adversary)
    for name, (drafter, refiner, changes) in REFINED.items():
        tuned = Student(of(refiner), {})
        found[name] = Student(of(drafter), changes, tuned, "evaluate.hybrid.refiner")
    return found


def looks_through_classifier(config: Mapping[str, Any]) -> bool:
    """Whether a student's training does, which is then one for all."""
    spec = build.distillation_spec(config)
    return isinstance(spec, build.WithFeatures) and spec.looks


def define_flags(data: str) -> None:
    """Those of `options_of`."""
    flags.DEFINE_string("data", "digits", data)
    flags.DEFINE_float("seconds", None, "of training for every student; 60, or 2 with --smoke")
    flags.DEFINE_string("arg", "", "of the teacher's config, such as bf16")
    flags.DEFINE_integer("samples", 0, "of each method; 0: as the teacher's config says")
    flags.DEFINE_integer("seed", 0, "of the students' trainings", lower_bound=0)
    flags.DEFINE_boolean("smoke", False, "tiny networks, in minutes on a CPU")
    flags.DEFINE_string(
        "teacher", "", "folder of a trained teacher, or of a packed model, or its name"
    )
    flags.DEFINE_string("data_dir", "", "of the prepared data; the config's unless given")
    flags.DEFINE_float("teacher_seconds", 0, "of its training; 0: the updates of its config")
    flags.DEFINE_integer("teacher_updates", 0, "the same in updates")
    flags.DEFINE_list("only", [], "students")
    flags.DEFINE_list("again", [], "students whose rows are to be made again")
    flags.DEFINE_integer("updates", 0, "of every student, instead of seconds")
    flags.DEFINE_enum("judge", "", ["", *WITHOUT_FILE], "a second feature space for fd_judge")
    flags.DEFINE_integer("jobs", 1, "trainings at a time", lower_bound=1)
    flags.DEFINE_integer("accelerators", 1, "NVIDIA GPUs to spread them over", lower_bound=1)
    flags.DEFINE_boolean(
        "timing", True, "of one sample, after all else, of rows made beside others"
    )
    flags.DEFINE_float("deadline", 0, "seconds after which to stop; 0: none")
    flags.DEFINE_string("out", "", "what is to be kept; runs/EXPERIMENT/DATA unless given")
    flags.DEFINE_string(
        "runs", "", "what can be made again; OUT/runs unless given, OUT/runs_seedN of other seeds"
    )
    flags.DEFINE_boolean("publish", False, "write what is published from OUT; run nothing")


def options_of(f: flags.FlagValues, cls: type[Options] = Options, **own: Any) -> Options:
    """What the flags ask for, and what an experiment has of its ``own``."""
    out = Path(f.out or ROOT / "runs" / cls.script / (f.data + "_smoke" * f.smoke))
    o = cls(
        data=f.data,
        seconds=(2.0 if f.smoke else 60.0) if f.seconds is None else f.seconds,
        arg=f.arg,
        samples=f.samples,
        seed=f.seed,
        smoke=f.smoke,
        teacher=f.teacher,
        data_dir=f.data_dir,
        teacher_seconds=f.teacher_seconds,
        teacher_updates=f.teacher_updates,
        only=tuple(f.only),
        again=tuple(f.again),
        updates=f.updates,
        judge=f.judge,
        jobs=max(f.jobs, f.accelerators),
        accelerators=f.accelerators,
        timing=f.timing,
        out=out.absolute(),
        deadline=Deadline(f.deadline - SPARE if f.deadline else float("inf")),
        **own,
    )
    return dataclasses.replace(o, runs=Path(f.runs or out / f"runs{o.suffix}").absolute())
