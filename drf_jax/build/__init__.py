"""From a config to typed objects: the one place with tables of names.

Nothing below this package sees a ConfigDict. A config describes one run: ``task`` is ``teacher`` (denoising),
``draft_refine`` (distillation of the two networks from a teacher's run) or ``distill`` (of one network of few steps).
"""

from drf_jax.build.data import source, split
from drf_jax.build.devices import Mesh, loop, mesh, rules
from drf_jax.build.distillation import (
    METHODS,
    UNGUIDED,
    Adversarial,
    ConsistencyDistillation,
    ConsistencyTraining,
    Distillation,
    LatentConsistency,
    LatentConsistencyLora,
    Progressive,
    Step,
    distillation_spec,
)
from drf_jax.build.draft_refine import (
    Distill,
    distill,
    init_student,
    learned_method,
    student,
    student_grid,
)
from drf_jax.build.evaluation import Evaluate, EvaluateDistilled, Hybrid, evaluate, methods
from drf_jax.build.network import BACKBONES, backbone, init_teacher
from drf_jax.build.objective import Objective, denoising, measured
from drf_jax.build.processes import PROCESSES, output, process
from drf_jax.build.run import (
    TASKS,
    DistilledRun,
    StudentRun,
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
    "PROCESSES",
    "SAMPLERS",
    "TASKS",
    "UNGUIDED",
    "Adversarial",
    "ConsistencyDistillation",
    "ConsistencyTraining",
    "Distill",
    "Distillation",
    "DistilledRun",
    "Evaluate",
    "EvaluateDistilled",
    "Hybrid",
    "LatentConsistency",
    "LatentConsistencyLora",
    "Mesh",
    "Objective",
    "Progressive",
    "Step",
    "StudentRun",
    "TeacherRun",
    "Train",
    "backbone",
    "check_task",
    "denoising",
    "distill",
    "distillation_spec",
    "evaluate",
    "guided",
    "init_student",
    "init_teacher",
    "learned_method",
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
    "student",
    "student_grid",
    "task",
    "train",
]
