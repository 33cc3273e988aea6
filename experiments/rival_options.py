"""What is asked for of the table of all rivals, and the students that it may have."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from drf_jax.cli.config_file import load_config
from drf_jax.errors import UserError
from drf_jax.runs.processes import Deadline

ROOT = Path(__file__).resolve().parents[1]
CALLS = (1, 2, 4, 8)
ANY_DEPTH = {"evaluate.calls": CALLS}
STUDENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "learned-4": ("draft_refine,calls=4", {}),
    "learned-aggressive-4": ("draft_refine_aggressive,calls=4", {}),
    "step-4": ("step,calls=4", {}),
    "consistency_distillation": (
        "consistency_distillation",
        ANY_DEPTH | {"evaluate.hybrid.rounds": (1, 2, 4)},
    ),
    "progressive": ("progressive", {}),
    "lcm": ("lcm", ANY_DEPTH),
    "adversarial": ("adversarial", {}),
    "consistency_training": ("consistency_training", ANY_DEPTH),
    "lcm_lora": ("lcm_lora", ANY_DEPTH),
    "learned-2": ("draft_refine,calls=2", {}),
    "learned-aggressive-2": ("draft_refine_aggressive,calls=2", {}),
    "step-2": ("step,calls=2", {}),
    "learned-8": ("draft_refine,calls=8", {}),
    "learned-aggressive-8": ("draft_refine_aggressive,calls=8", {}),
    "step-8": ("step,calls=8", {}),
    "step-1": ("step,calls=1", {}),
}
"""Name -> the config's method, and the rows beyond the config's own."""
SMOKE = tuple(name for name in STUDENTS if name[-1] not in "128")
FREE = "training-free"


@dataclasses.dataclass(frozen=True)
class Options:
    """What is asked for; the first five decide the rows."""

    data: str
    seconds: float
    arg: str = ""
    samples: int = 0
    smoke: bool = False
    teacher: str = ""
    data_dir: str = ""
    teacher_seconds: float = 0.0
    teacher_updates: int = 0
    only: tuple[str, ...] = ()
    updates: int = 0
    jobs: int = 1
    out: Path = Path()
    runs: Path = Path()
    deadline: Deadline = dataclasses.field(default_factory=Deadline)

    @property
    def every(self) -> int:
        """Updates of a line of a probe."""
        return 2 if self.smoke else 10

    @property
    def statistics(self) -> Path:
        """Of the data's features."""
        return self.runs / "statistics.npz"

    @property
    def adversary(self) -> Path:
        """The classifier that the adversarial student's discriminator looks through."""
        return self.runs / "adversary.npz"

    def spec(self, suffix: str = "", arg: str = "") -> str:
        """A config of the data set, as ``--config`` has it."""
        name = "_".join(filter(None, (self.data, suffix)))
        words = ",".join(filter(None, (arg, "smoke" if self.smoke else "")))
        return f"{ROOT / 'configs' / name}.py:{words}"

    def identity(self) -> dict[str, Any]:
        names = ("data", "seconds", "arg", "samples", "smoke")
        return {name: getattr(self, name) for name in names}


def say(text: str) -> None:
    print(f"rivals: {text}", file=sys.stderr, flush=True)


def offered(o: Options) -> dict[str, tuple[str, dict[str, Any]]]:
    """The students that the data set's configs have: name -> config, changes."""
    found = {}
    for name, (method, changes) in STUDENTS.items():
        if o.smoke and name not in SMOKE:
            continue
        spec = o.spec("distilled", f"method={method}")
        try:
            load_config(spec)
        except UserError as error:
            say(f"{name} is not offered: {error}")
            continue
        adversary = {"method.features": str(o.adversary)}
        found[name] = spec, changes | (adversary if name == "adversarial" else {})
    return found
