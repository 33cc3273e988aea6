"""How many drafts a round should have: quality of the training-free sampler at 4 and 8 sequential calls.

    drf demo                         trains the teacher, if it is not there
    python experiments/drafts.py     about ten minutes on 2 CPU cores

The number of sequential calls fixes the number of rounds, R = calls / 2 (conservative) or calls − 1 (aggressive).
With K drafts a round takes K + 1 or K grid steps, so more drafts make a finer grid for the same calls, until drafts
from far away spoil it. Three ways to reuse a prediction: noise form, data form, and drafts in data form refined in
noise form (aggressive mode only; conservative drafts are skips, the same in both forms). DDIM at 4, 8 and more calls
beside them.

Writes ``results/drafts_digits.json`` and ``docs/pictures/drafts_digits.png``.
"""

import dataclasses
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags, logging
from measuring import typed
from tqdm import tqdm

from drf_jax import build
from drf_jax.data.conditioning import condition_of
from drf_jax.errors import UserError
from drf_jax.evaluation.generate import generate
from drf_jax.evaluation.lines import Panel, line_figure
from drf_jax.evaluation.reference import make_reference, state_features
from drf_jax.evaluation.report import Row, family, markdown_table, row, write_results
from drf_jax.runs.compare import numbers
from drf_jax.runs.features import extractor_of
from drf_jax.runs.keys import SAMPLE, root_key
from drf_jax.runs.teacher import Teacher, load_teacher, teacher_method
from drf_jax.sampling.grid import uniform
from drf_jax.sampling.method import Method, driffusion_method
from drf_jax.sampling.refine import ParallelRefiner

ROOT = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Rounds:
    """Draft–refine rounds of a given depth."""

    mode: str
    calls: int
    drafts: int
    form: str
    draft_form: str

    @property
    def steps(self) -> int:
        """Grid steps: rounds × steps a round."""
        if self.mode == "conservative":
            return self.calls // 2 * (self.drafts + 1)
        return (self.calls - 1) * self.drafts

    def method(self, teacher: Teacher) -> Method:
        denoiser = teacher.denoiser
        return driffusion_method(
            f"driffusion-{self.mode}-{self.calls}",
            build.DRAFTERS[self.mode](denoiser, self.draft_form),
            ParallelRefiner(denoiser),
            denoiser.process,
            uniform(denoiser.process, self.steps),
            self.drafts,
            self.form,
            build.loop(teacher.config),
            self.mode,
        )


FORMS = {
    "conservative": [("noise", "noise"), ("data", "data")],
    "aggressive": [("noise", "noise"), ("data", "data"), ("noise", "data")],
}


def every_rounds(drafts: Sequence[int], calls: Sequence[int]) -> list[Rounds]:
    """All combinations."""
    return [
        Rounds(mode, n, k, form, draft_form)
        for n in calls
        for mode, forms in FORMS.items()
        for form, draft_form in forms
        for k in drafts
    ]


def serial_method(teacher: Teacher, steps: int) -> Method:
    section = {"name": "serial", "steps": steps}
    loop = build.loop(teacher.config)
    return build.method(f"ddim-{steps}", section, teacher.denoiser, teacher.data, loop, "ddim")


def experiment(
    teacher: Teacher,
    rounds: Sequence[Rounds],
    serial: Sequence[int],
    spec: build.Evaluate,
    folder: Path,
    seed: int,
) -> list[Row]:
    """Rows of DDIM and of all rounds; a feature network that has to be trained is kept in ``folder``."""
    data = teacher.data
    extractor = extractor_of(spec, folder, data, teacher.config)
    real = make_reference(spec.metrics, extractor, data, spec.samples, limit=spec.real)

    def samples(method: Method) -> np.ndarray:
        return generate(
            method.sampler,
            root_key(seed, SAMPLE),
            np.arange(spec.samples),
            data.image_shape,
            lambda index: condition_of(data, index),
            spec.batch_size,
            label=method.name,
        )

    reference = samples(teacher_method(teacher.config, data, teacher.denoiser))
    methods = [(serial_method(teacher, n), {}) for n in serial]
    for made in rounds:
        mixed = {} if made.draft_form == made.form else {"draft_form": made.draft_form}
        methods.append((made.method(teacher), {"form": made.form, **mixed}))
    rows = []
    for method, forms in tqdm(methods, desc="samplers", disable=None):
        states = samples(method)
        features = state_features(extractor, states)
        measured = numbers(states, reference, features, real, spec.metrics)
        rows.append(
            row(
                dataset=data.name,
                method=method.name,
                mode=method.mode,
                sequential_calls=method.sequential_calls,
                network_evaluations=method.network_evaluations,
                drafts=method.drafts or None,
                **forms,
                feature_space=extractor.feature_space,
                samples=spec.samples,
                seed=seed,
                **measured,
            )
        )
    return rows


def draw(path: Path, rows: Sequence[Row], calls: Sequence[int]) -> None:
    """FD and RMSE against the number of drafts, with DDIM's at the same calls and its best as guides."""
    panels = []
    for n in calls:
        for key, label in (("fd", "Fréchet distance"), ("rmse_to_teacher", "RMSE to the teacher")):
            lines = defaultdict(list)
            for r in rows:
                if r["sequential_calls"] == n and "drafts" in r:
                    drafts = ", drafts in data form" if "draft_form" in r else f", {r['form']} form"
                    lines[r["mode"] + drafts].append((r["drafts"], r[key]))
            xs = sorted({k for line in lines.values() for k, _ in line})
            ddim = {r["sequential_calls"]: r[key] for r in rows if family(r["method"]) == "ddim"}
            shown = {f"DDIM, {m} calls": ddim[m] for m in (n, max(ddim)) if ddim.get(m)}
            guides = {name: [(xs[0], y), (xs[-1], y)] for name, y in shown.items()}
            panels.append(Panel(f"{n} sequential calls", "drafts a round, K", label, lines, guides))
    line_figure(path, panels, columns=2)


COLUMNS = (
    *("method", "drafts", "form", "draft_form", "sequential_calls", "network_evaluations"),
    *("fd", "rmse_to_teacher", "rmse_to_teacher_p50", "rmse_to_teacher_p99"),
)


def main(folder: str, features: str, samples: int, smoke: bool, out: Path, command: str) -> None:
    calls, drafts = ((4,), (2, 3)) if smoke else ((8, 4), range(2, 8))
    serial = (48, 4) if smoke else (48, 24, 12, 8, 4)
    spec = build.Evaluate(samples=samples, batch_size=min(samples, 600), features=features)
    teacher, seed = load_teacher(folder), 0
    rows = experiment(teacher, every_rounds(drafts, calls), serial, spec, Path(folder), seed)
    config = {"samples": samples, "seed": seed, "teacher_sha256": teacher.sha256}
    write_results(out / "results" / "drafts_digits.json", rows, config, command)
    draw(out / "docs" / "pictures" / "drafts_digits.png", rows, calls)
    print(markdown_table(rows, COLUMNS))


if __name__ == "__main__":
    flags.DEFINE_string("teacher", "runs/demo/teacher", "folder of the teacher's run")
    flags.DEFINE_string("features", "", "of the FD; trained in the teacher's folder unless given")
    flags.DEFINE_integer("samples", 1797, "of each sampler", lower_bound=64)
    flags.DEFINE_boolean("smoke", False, "a few rows")
    where = "folder that gets results/ and docs/pictures/; the checkout, or runs/smoke with --smoke"
    flags.DEFINE_string("out", "", where)
    f = flags.FLAGS
    command = typed(sys.argv)

    def run(_):
        out = Path(f.out or (ROOT / "runs" / "smoke" if f.smoke else ROOT))
        try:
            main(f.teacher, f.features, f.samples, f.smoke, out, command)
        except UserError as error:
            print(f"drafts: {error}", file=sys.stderr)
            sys.exit(2)

    logging.set_verbosity(logging.WARNING)
    app.run(run)
