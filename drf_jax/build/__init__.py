"""From a config to typed objects: the one place with tables of names.

Nothing below this package sees a ConfigDict. A config describes one run: ``task`` is ``teacher`` (denoising) or
``distill`` (of a teacher's run, by one of ``METHODS``).
"""

from drf_jax.build.data import source, split
from drf_jax.build.devices import Mesh, loop, mesh, rules
from drf_jax.build.distillation import (
    METHODS,
    PFGMPP,
    UNGUIDED,
    Adversarial,
    ConsistencyDistillation,
    ConsistencyTraining,
    Distillation,
    DraftRefine,
    DraftRefineAggressive,
    DraftRefineAnchored,
    LatentConsistency,
    LatentConsistencyLora,
    Progressive,
    Step,
    WithFeatures,
    WithTerms,
    distillation_spec,
)
from drf_jax.build.evaluation import Evaluate, EvaluateDistilled, Hybrid, evaluate, methods
from drf_jax.build.network import BACKBONES, backbone, computing_in, init_teacher
from drf_jax.build.objective import Objective, denoising, measured
from drf_jax.build.processes import PROCESSES, output, process
from drf_jax.build.run import (
    TASKS,
    DistilledRun,
    TeacherRun,
    Train,
    check_task,
    optimizer,
    task,
    train,
)
from drf_jax.build.samplers import SAMPLERS, guided, method, sampler_spec
from drf_jax.build.samplers.driffusion import DRAFTERS

__all__ = [
    "BACKBONES",
    "DRAFTERS",
    "METHODS",
    "PFGMPP",
    "PROCESSES",
    "SAMPLERS",
    "TASKS",
    "UNGUIDED",
    "Adversarial",
    "ConsistencyDistillation",
    "ConsistencyTraining",
    "Distillation",
    "DistilledRun",
    "DraftRefine",
    "DraftRefineAggressive",
    "DraftRefineAnchored",
    "Evaluate",
    "EvaluateDistilled",
    "Hybrid",
    "LatentConsistency",
    "LatentConsistencyLora",
    "Mesh",
    "Objective",
    "Progressive",
    "Step",
    "TeacherRun",
    "Train",
    "WithFeatures",
    "WithTerms",
    "backbone",
    "check_task",
    "computing_in",
    "denoising",
    "distillation_spec",
    "evaluate",
    "guided",
    "init_teacher",
    "loop",
    "measured",
    "mesh",
    "method",
    "methods",
    "optimizer",
    "output",
    "process",
    "rules",
    "sampler_spec",
    "source",
    "split",
    "task",
    "train",
]
