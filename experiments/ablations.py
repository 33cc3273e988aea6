"""The design of the learned draft–refine student: a list of single changes, at equal training seconds and depth.

    python experiments/ablations.py --data digits --seconds 60
    python experiments/ablations.py --data emoji64 --data_dir ~/data --seconds 120 --calls 2
    python experiments/ablations.py --data digits --only learned,drafts=8,source=step
    python experiments/ablations.py --data digits --only "double_rate+grid=power:2+perceptual_weight=0.01"
    python experiments/ablations.py --data digits --publish                      results/ablations/

Every name of `ablation_list.ABLATIONS` is one row: the config's conservative or aggressive student in ``--calls``
sequential calls with one thing changed, or the step-distilled student of as many calls, the control. ``--only`` takes
other names, too: ``learned``, ``aggressive``, ``anchored`` or ``step`` and its changes, KEY=VALUE of ``config.method``
or words of `ablation_list.WORDS`, with + between them. All is as in ``experiments/rivals.py``: the seconds, the teacher
and what is kept where, so that a second call, with ``--deadline`` or on another machine, goes on where the first
stopped. A student that starts from another one (``source``) is trained for half of the seconds, after that other.

    OUT/DATA.json          the table, saved after every row (DATA_calls2.json with --calls 2); ``ablation`` is the name
    OUT/teacher/*, features.npz, pictures.npz, RUNS/*               as of rivals.py
"""

import dataclasses
import shutil
from pathlib import Path
from typing import Any, ClassVar

from ablation_list import ABLATIONS, ablations
from absl import flags
from rival_loop import make_table, run, told
from rival_options import ROOT, Options, define_flags, options_of
from rival_seconds import TIMING, check_publishable, forget
from rival_table import Table, key_of

from drf_jax.evaluation.report import Row


@dataclasses.dataclass(frozen=True)
class AblationOptions(Options):
    calls: int = 4
    script: ClassVar[str] = "ablations"

    @property
    def file(self) -> str:
        return f"{self.data}{self.suffix}.json"

    @property
    def suffix(self) -> str:
        calls = f"_calls{self.calls}" if self.calls != 4 else ""
        return calls + super().suffix

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"calls": self.calls}


def in_order(row: Row) -> tuple[int, str]:
    """As in the list; what was asked for besides comes after it."""
    name = key_of(row)
    return ABLATIONS.index(name) if name in ABLATIONS else len(ABLATIONS), name


def publish(made: Table, root: Path) -> None:
    """The table into results/ablations/ as it is."""
    check_publishable(made)
    folder = root / "results" / "ablations"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made.path, folder / made.path.name)


def main(o: AblationOptions, to_publish: bool) -> int:
    """The exit code: 0 if the table has every row."""
    made = Table(o, in_order)
    if to_publish:
        publish(made, ROOT)
        return 0
    o.out.mkdir(parents=True, exist_ok=True)
    forget(made, o.again)
    asked = [name for name in (*o.only, *made.facts["made"]) if name != TIMING]
    students = ablations(o, o.calls, asked)
    left = make_table(o, made, students, {}, lambda name: {"ablation": name})
    return told(o, made, left)


if __name__ == "__main__":
    define_flags("digits, fashion_mnist32, emoji64, cifar10")
    flags.DEFINE_integer("calls", 4, "sequential calls of every student", lower_bound=1)
    f = flags.FLAGS
    run(lambda: options_of(f, AblationOptions, calls=f.calls), lambda o: main(o, f.publish))
