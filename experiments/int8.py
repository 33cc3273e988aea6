"""What int8 costs in quality: the same samplers from the same noises with float32 and with int8 matrices.

    python experiments/int8.py --teacher=runs/demo/teacher --students=runs/demo/learned-4

Needs ``pip install 'drf_jax[int8]'``. ``weights`` quantises what is stored, ``products`` what it is multiplied with too
(`drf_jax.networks.quantised`). The methods are the teacher's own sampler and its students'. FD on the teacher's feature
network, RMSE to the teacher's float32 samples. The file is written after every row.
"""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging
from measuring import typed

from drf_jax import build
from drf_jax.data.conditioning import condition_of, null_cond
from drf_jax.denoiser import Denoiser
from drf_jax.errors import UserError
from drf_jax.evaluation.generate import generate
from drf_jax.evaluation.reference import make_reference, state_features
from drf_jax.evaluation.report import Row, markdown_table, row, write_results
from drf_jax.networks.quantised import with_quantised
from drf_jax.runs.compare import numbers
from drf_jax.runs.distil import load_distilled
from drf_jax.runs.features import extractor_of
from drf_jax.runs.keys import SAMPLE, root_key
from drf_jax.runs.teacher import Teacher, load_teacher, teacher_method
from drf_jax.sampling.ahead import AheadRefiner
from drf_jax.sampling.anchored import CorrectingRefiner
from drf_jax.sampling.draft import LearnedDrafter
from drf_jax.sampling.method import Method
from drf_jax.sampling.refine import LearnedRefiner

ROOT = Path(__file__).resolve().parents[1]
FORMS = {"float32": None, "weights": False, "products": True}
"""How a row's matrices are kept -> the ``activations`` of `with_quantised`."""


STATES: dict[type, Callable[[Any], int]] = {
    LearnedRefiner: lambda network: network.drafts,
    AheadRefiner: lambda network: network.drafts,
    CorrectingRefiner: lambda network: network.drafts + 1,
}
"""What evaluates several states in a call -> how many."""


def in_int8(method: Method, data: Any, activations: bool) -> Method:
    """The method with all its networks quantised.

    Raises:
      UserError: it has none of those that are known here.
    """
    x, t, cond = jnp.zeros((1, *data.image_shape)), jnp.zeros(1), null_cond(data, 1)
    several = lambda k: jnp.zeros((k, *x.shape))
    times = lambda k: jnp.zeros((k, 1))

    def convert(part):
        if isinstance(part, Denoiser):
            args = (x, t, cond)
        elif isinstance(part, LearnedDrafter):
            args = (x, t, times(part.network.drafts), cond)
        else:
            k = STATES[type(part)](part.network)
            args = (several(k), times(k), cond)
        return with_quantised(part, *args, activations=activations)

    held = lambda part: isinstance(part, (Denoiser, LearnedDrafter, *STATES))
    parts, rest = jax.tree.flatten(method.sampler, is_leaf=held)
    if not any(map(held, parts)):
        raise UserError(f"{method.name}: no network that can be kept in int8")
    parts = [convert(part) if held(part) else part for part in parts]
    return dataclasses.replace(method, sampler=jax.tree.unflatten(rest, parts))


def experiment(
    teacher: Teacher, methods: list[Method], spec: build.Evaluate, folder: Path, save: Callable
) -> list[Row]:
    """A row of each method in each form; the feature network is kept in ``folder``."""
    data, seed = teacher.data, 0
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

    reference, rows = samples(methods[0]), []
    for method in methods:
        for form, activations in FORMS.items():
            made = method if activations is None else in_int8(method, data, activations)
            states = samples(made)
            features = state_features(extractor, states)
            measured = numbers(states, reference, features, real, spec.metrics)
            rows.append(
                row(
                    dataset=data.name,
                    method=method.name,
                    matrices=form,
                    sequential_calls=method.sequential_calls,
                    network_evaluations=method.network_evaluations,
                    drafts=method.drafts,
                    feature_space=extractor.feature_space,
                    samples=spec.samples,
                    seed=seed,
                    **measured,
                )
            )
            save(rows)
    return rows


def main(folder: str, students: list[str], samples: int, out: Path, command: str) -> None:
    teacher = load_teacher(folder)
    spec = build.Evaluate(samples=samples, batch_size=min(samples, 600))
    own = teacher_method(teacher.config, teacher.data, teacher.denoiser)
    kind = teacher.config["sampler"].get("step", "ddim")
    methods = [dataclasses.replace(own, name=f"{kind}-{own.sequential_calls}")]
    methods += [each.method for path in students for each in load_distilled(path, teacher)]
    path = out / "results" / f"int8_{teacher.data.name}.json"
    config = {"samples": samples, "teacher_sha256": teacher.sha256}
    save = lambda rows: write_results(path, rows, config, command)
    rows = experiment(teacher, methods, spec, Path(folder), save)
    print(markdown_table(rows, ("method", "matrices", "fd", "rmse_to_teacher", "psnr_to_teacher")))


if __name__ == "__main__":
    flags.DEFINE_string("teacher", "runs/demo/teacher", "folder of the teacher's run")
    flags.DEFINE_list("students", "", "folders of its students' runs")
    flags.DEFINE_integer("samples", 1797, "of each sampler", lower_bound=64)
    flags.DEFINE_string("out", str(ROOT), "folder that gets results/")
    f = flags.FLAGS
    command = typed(sys.argv)

    def run(_):
        try:
            main(f.teacher, f.students, f.samples, Path(f.out), command)
        except UserError as error:
            print(f"int8: {error}", file=sys.stderr)
            sys.exit(2)

    logging.set_verbosity(logging.WARNING)
    app.run(run)
