"""From a config to typed objects: the one place with tables of names.

Nothing below this package sees a ConfigDict. A config describes one run: ``task`` is ``teacher`` (denoising) or
``draft_refine`` (distillation of the two networks from a teacher's run).
"""

from drf_jax.build.data import source, split
from drf_jax.build.devices import Mesh, loop, mesh
from drf_jax.build.draft_refine import (
    Distill,
    distill,
    init_student,
    learned_method,
    student,
    student_grid,
)
from drf_jax.build.evaluation import Evaluate, evaluate, methods
from drf_jax.build.network import BACKBONES, backbone, init_teacher
from drf_jax.build.objective import Objective, denoising
from drf_jax.build.processes import PROCESSES, output, process
from drf_jax.build.run import (
    TASKS,
    StudentRun,
    TeacherRun,
    Train,
    check_task,
    optimizer,
    task,
    train,
)
from drf_jax.build.samplers import (
    DRAFTERS,
    SAMPLERS,
    DRiffusion,
    Serial,
    driffusion_sampler,
    guided,
    method,
    sampler_spec,
    serial_sampler,
)

__all__ = [
    "BACKBONES",
    "DRAFTERS",
    "PROCESSES",
    "SAMPLERS",
    "TASKS",
    "DRiffusion",
    "Distill",
    "Evaluate",
    "Mesh",
    "Objective",
    "Serial",
    "StudentRun",
    "TeacherRun",
    "Train",
    "backbone",
    "check_task",
    "denoising",
    "distill",
    "driffusion_sampler",
    "evaluate",
    "guided",
    "init_student",
    "init_teacher",
    "learned_method",
    "loop",
    "mesh",
    "method",
    "methods",
    "optimizer",
    "output",
    "process",
    "sampler_spec",
    "serial_sampler",
    "source",
    "split",
    "student",
    "student_grid",
    "task",
    "train",
]
