"""What all rows of an experiment on a trained teacher share: samples, features, real data, how a row is measured."""

import argparse
import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from drf_jax import build
from drf_jax.cli.config_file import load_config
from drf_jax.data.conditioning import condition_of
from drf_jax.evaluation.extractor import WITHOUT_FILE, Extractor
from drf_jax.evaluation.fidelity import rmse
from drf_jax.evaluation.generate import Sampler, generate
from drf_jax.evaluation.reference import Reference, make_reference, state_features
from drf_jax.evaluation.report import Row, row
from drf_jax.evaluation.score import fd
from drf_jax.evaluation.spread import spread
from drf_jax.runs.compare import numbers
from drf_jax.runs.evaluate import fingerprint, measurement, samples_of
from drf_jax.runs.features import extractor_of, judge_network
from drf_jax.runs.keys import SAMPLE, root_key
from drf_jax.runs.teacher import Teacher, load_teacher
from drf_jax.sampling.loops import Loop
from drf_jax.sampling.method import Method

ROOT = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Bench:
    """``folder``, a folder of the teacher's run, keeps samples and what else is not made twice."""

    teacher: Teacher
    spec: build.Evaluate
    folder: Path
    seed: int = 0

    @property
    def loop(self) -> Loop:
        return build.loop(self.teacher.config)

    @property
    def mesh(self) -> jax.sharding.Mesh:
        return build.mesh(self.teacher.config)

    @functools.cached_property
    def extractor(self) -> Extractor:
        return extractor_of(self.spec, self.folder.parent, self.teacher.data, self.teacher.config)

    @functools.cached_property
    def real(self) -> Reference:
        spec = self.spec
        shared = (spec.metrics, self.extractor, self.teacher.data, spec.samples)
        return make_reference(*shared, statistics=spec.statistics, limit=spec.real)

    @functools.cached_property
    def judge(self) -> Extractor | None:
        return judge_network(self.spec)

    @functools.cached_property
    def real_to_judge(self) -> Reference:
        spec, data = self.spec, self.teacher.data
        return make_reference(("fd",), self.judge, data, spec.samples, limit=spec.real)

    @functools.cached_property
    def mark(self) -> str:
        """Of what every row depends on."""
        measured = measurement(self.spec, self.extractor, self.teacher.data, self.judge)
        return fingerprint(self.teacher.data.name, self.teacher.sha256, self.seed, measured)

    def draw(
        self, method: Method, depends_on: Any, seed: int, label: str = ""
    ) -> Float[np.ndarray, "n *state"]:
        """A method's samples from the noises of a seed, kept in the folder.

        ``depends_on`` are JSON values, besides the data and the teacher; ``label`` tells methods of one name apart.
        """
        path = self.folder / f"{method.name}{label}-{seed}.f32"
        mark = fingerprint(self.teacher.data.name, self.teacher.sha256, seed, depends_on)
        shared = (self.teacher.data, seed, self.spec.samples, self.spec.batch_size)
        return samples_of(method, *shared, path, mark, self.mesh)

    def made_by(
        self, sampler: Sampler, count: int, batch_size: int
    ) -> Float[np.ndarray, "count ..."]:
        """What a sampler makes of the first noises; not kept."""
        data = self.teacher.data
        return generate(
            spread(sampler, self.mesh, batch_size),
            root_key(self.seed, SAMPLE),
            np.arange(count),
            data.image_shape,
            lambda index: jax.tree.map(jnp.asarray, condition_of(data, index)),
            batch_size,
        )

    def row(
        self,
        samples: Float[np.ndarray, "n *state"],
        serial: Float[np.ndarray, "n *state"],
        **facts: Any,
    ) -> Row:
        """``facts``, and what is measured on samples and on their distance to the serial ones."""
        features, judged = state_features(self.extractor, samples), {}
        if self.judge is not None:
            judged["fd_judge"] = fd(state_features(self.judge, samples), self.real_to_judge)["fd"]
        return row(
            dataset=self.teacher.data.name,
            **facts,
            samples=len(samples),
            seed=self.seed,
            feature_space=self.extractor.feature_space,
            judge=self.spec.judge or None,
            **numbers(samples, serial, features, self.real, self.spec.metrics, judged),
            rmse_to_teacher_max=float(rmse(samples, serial).max()),
        )


def arguments(description: str) -> argparse.ArgumentParser:
    """The flags that such experiments share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--teacher", default="runs/demo/teacher", help="folder of its run")
    parser.add_argument("--students", default="", help="folders of their runs, with commas")
    parser.add_argument("--config", default="", help="FILE[:arg] with another config.evaluate")
    parser.add_argument("--samples", type=int, default=0, help="config.evaluate's unless given")
    parser.add_argument("--features", default="", help="weights of the feature network")
    parser.add_argument("--judge", default="", choices=("", *WITHOUT_FILE), help="for fd_judge")
    parser.add_argument("--smoke", action="store_true", help="64 samples, few rows; to runs/smoke")
    parser.add_argument("--out", type=Path, help="gets results/ and docs/pictures/")
    return parser


def out_of(given: argparse.Namespace) -> Path:
    return given.out or (ROOT / "runs" / "smoke" if given.smoke else ROOT)


def bench_of(given: argparse.Namespace, folder: str) -> Bench:
    """The bench of the shared flags; memorisation, which is not about a sampler's error, is not measured.

    Raises:
      UserError: no such run, or the config is another experiment's.
    """
    config = load_config(given.config) if given.config else None
    teacher = load_teacher(given.teacher, config)
    spec = build.evaluate(config or teacher.config)
    samples = 64 if given.smoke else given.samples or spec.samples
    spec = dataclasses.replace(
        spec,
        samples=samples,
        batch_size=min(samples, spec.batch_size),
        metrics=tuple(name for name in spec.metrics if name != "memorisation"),
        features=given.features or spec.features,
        judge=given.judge or spec.judge,
    )
    return Bench(teacher, spec, Path(given.teacher) / folder)
