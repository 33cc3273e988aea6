"""What the large runs need of TPU pods, compiled without a TPU: `drf plan` for several programs and topologies.

    pip install 'drf_jax[tpu]'; python experiments/plan.py

Writes ``results/plan.json`` after every compilation, from which ``report.py`` makes the table of ``docs/scale.md``; the
file has the seconds that each took. Killed, it goes on with what is not in the file. ``--smoke`` plans tiny networks
for 16 chips and writes ``plan.json``.
"""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict
from tqdm import tqdm

from drf_jax.build import METHODS
from drf_jax.config import plain
from drf_jax.configs import cifar10, cifar10_distilled, imagenet512_dit_xl2
from drf_jax.errors import UserError
from drf_jax.evaluation.report import read_results, write_results
from drf_jax.plan.data import planned_data
from drf_jax.plan.plan import make_plan
from drf_jax.plan.programs import programs
from drf_jax.plan.topology import describe
from drf_jax.sharding import make_mesh

ROOT = Path(__file__).resolve().parents[1]
TOPOLOGIES = ("v5e:16x16", "v6e:16x16", "v5p:4x4x4")
DRAFTS = 8
"""Chips that share the drafts of one image."""
FSDP = 128
"""Chips that share the parameters: the largest power of two that divides the width of DiT-XL/2."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A program: of ``config``, whose teacher is ``teacher``. ``draft`` chips along that axis of the mesh at least,
    ``data`` along that axis at most; ``batch`` a chip of the axis ``data``, else the config's. It is planned for the
    first ``topologies`` of those there are."""

    name: str
    config: ConfigDict
    teacher: ConfigDict
    program: str = "train"
    method: str = ""
    draft: int = 1
    data: int = 2**20
    batch: int | None = None
    topologies: int = len(TOPOLOGIES)


def subjects(arg: str) -> list[Subject]:
    cifar, xl = cifar10.get_config(arg or "bf16"), imagenet512_dit_xl2.get_config(arg)
    one = {"batch": 8, "topologies": 1}
    distilled = {
        method: cifar10_distilled.get_config(",".join(filter(None, [f"method={method}", arg])))
        for method in METHODS
    }
    student = distilled.pop("draft_refine")
    parallel = {"program": "sample", "draft": DRAFTS, "batch": 1}
    return [
        Subject("CIFAR-10 teacher, update", cifar, cifar, batch=8),
        Subject("CIFAR-10 draft–refine student, update", student, cifar, batch=8),
        Subject("CIFAR-10 draft–refine student, on-policy", student, cifar, "on_policy", **one),
        Subject("CIFAR-10 draft–refine student, sampler", student, cifar, "sample", **one),
        *(
            Subject(f"CIFAR-10 {method.replace('_', ' ')}, update", config, cifar, **one)
            for method, config in distilled.items()
        ),
        Subject("DiT-XL/2 teacher, update", xl, xl, data=FSDP),
        Subject("DiT-XL/2, aggressive", xl, xl, method="driffusion-aggressive-7", **parallel),
        Subject("DiT-XL/2, conservative", xl, xl, method="driffusion-conservative-12", **parallel),
    ]


def planned(subject: Subject, name: str) -> dict[str, Any]:
    """The record of one plan."""
    topology = describe(name)
    chips = len(topology.devices)
    draft = max(subject.draft, chips // subject.data)
    mesh = make_mesh(chips // draft, draft, 1, devices=topology.devices)
    data = planned_data(subject.teacher)
    made = programs(subject.config, data, mesh, subject.teacher, subject.method)
    program = made[subject.program]()
    batch = program.batch if subject.batch is None else subject.batch * mesh.shape["data"]
    plan = make_plan(program, topology, dict(mesh.shape), batch, topology.chip.hbm)
    return {"subject": subject.name, "jax": jax.__version__, **plan.record}


def refused(subject: Subject, name: str, error: UserError) -> dict[str, Any]:
    return {"subject": subject.name, "topology": name, "refused": str(error)}


def main(out: Path, arg: str, topologies: tuple[str, ...], command: str) -> None:
    made: list[Mapping[str, Any]] = read_results(out)["plans"] if out.exists() else []
    known = {(plan["subject"], plan["topology"]) for plan in made}
    wanted = [(s, name) for s in subjects(arg) for name in topologies[: s.topologies]]
    order = {(s.name, name): i for i, (s, name) in enumerate(wanted)}
    configs = {s.name: plain(s.config) for s in subjects(arg)}
    for subject, name in tqdm([w for w in wanted if (w[0].name, w[1]) not in known], unit="plan"):
        try:
            made.append(planned(subject, name))
        except UserError as error:
            made.append(refused(subject, name, error))
        made.sort(key=lambda plan: order.get((plan["subject"], plan["topology"]), len(order)))
        write_results(out, [], configs, command, {"plans": made})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="tiny networks, 16 chips")
    parser.add_argument("--out", type=Path, help="results file")
    args = parser.parse_args()
    command = "python experiments/plan.py"
    if args.smoke:
        main(args.out or Path("plan.json"), "smoke", ("v5e:4x4",), f"{command} --smoke")
    else:
        main(args.out or ROOT / "results" / "plan.json", "", TOPOLOGIES, command)
