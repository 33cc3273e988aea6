"""Students of the emoji teacher (argument ``method=NAME``).

    drf train --config configs/emoji64_distilled.py:method=lcm \\
        --workdir runs/emoji/lcm --config.teacher=runs/emoji/teacher
    drf evaluate --config configs/emoji64.py --workdir runs/emoji/teacher \\
        "--config.evaluate.students=('runs/emoji/lcm',)"

``method`` is ``draft_refine``, ``draft_refine_aggressive``, ``draft_refine_anchored`` or ``step`` (of which ``calls=4``
says in how many calls), ``progressive``, ``consistency_distillation``, ``consistency_training``,
``lcm``, ``lcm_lora``, ``adversarial`` or ``pfgmpp``. Every student with a teacher is shown
guidance weights from 1 to 4 and takes the weight as an input: ``--config.evaluate.guidance=3`` samples with it. The
teacher may be conditioned on captions, too (``configs/emoji64.py:captions``): its students then are.

For one H100; not yet run at this length. ``smoke`` trains for a few updates, in seconds on a CPU
(``method=lcm,smoke``); its teacher is ``configs/emoji64.py:smoke``.
"""

from ml_collections import ConfigDict

from drf_jax.configs.distilled import DRAFT_REFINE, distilled

GUIDANCE = (1.0, 4.0)
TRAJECTORIES = {
    "teacher_steps": 48,
    "trajectories": 24_000,
    "trajectory_batch": 500,
    "trajectory_dtype": "float16",
    "on_policy_after": 5000,
    "guidance": GUIDANCE,
}
"""Of the methods that are trained on the teacher's walks: on-policy in the last part."""
ON_POLICY = TRAJECTORIES | {"on_policy_after": 0}
"""From the first update."""
METHODS = {
    "draft_refine": {**ON_POLICY, "rounds": 2, "drafts": 2},
    "draft_refine_aggressive": {**ON_POLICY, "rounds": 3, "drafts": 2},
    "draft_refine_anchored": {**ON_POLICY, "rounds": 4, "drafts": 1},
    "step": {"steps": 4, **TRAJECTORIES, "batch_size_on_policy": 128},
    "progressive": {"start": 64, "last": 1, "guidance": GUIDANCE},
    "consistency_distillation": {
        "intervals": 17,
        "proposal": "log_normal",
        "distance": "pseudo_huber",
        "target": "stop_gradient",
        "guidance": GUIDANCE,
    },
    "consistency_training": {
        "first_intervals": 10,
        "last_intervals": 40,  # 1,280 diverge: too few updates for each number
        "proposal": "log_normal",
        "distance": "pseudo_huber",
        "target": "stop_gradient",
    },
    "lcm": {"teacher_steps": 48, "stride": 4, "guidance": GUIDANCE},
    "lcm_lora": {"teacher_steps": 48, "stride": 4, "guidance": GUIDANCE, "rank": 64},
    "adversarial": {
        "steps": 4,
        "distill_weight": 2.5,  # 200 collapses onto few images (and so did 20, on even steps)
        "r1_weight": 10.0,
        "discriminator_learning_rate": 5e-4,
        "features": "",
        "feature_steps": 3000,
        "feature_seed": 1,
        "guidance": GUIDANCE,
    },
    "pfgmpp": {"dimensions": 2048.0},
}


def get_config(arg: str = "") -> ConfigDict:
    return distilled(
        arg,
        METHODS,
        teacher="runs/emoji/teacher",
        optimizer={"learning_rate": 1e-4, "warmup": 200},
        players={"learning_rate": 5e-5},
        train={
            "steps": 8000,
            "batch_size": 256,
            "ema": 0.999,
            "log_every": 100,
            "checkpoint_every": 2000,
            "sample_every": 2000,
        },
        updates={"progressive": 2000},  # of each stage
        # A round is several evaluations. Smaller ones leave a GPU waiting: an update is thousands of kernels.
        rounds_per_update={
            "draft_refine": 256,
            "draft_refine_aggressive": 384,
            "draft_refine_anchored": 1024,
        },
        rates=dict.fromkeys(DRAFT_REFINE, 5e-5),
        grid="shifted:4",  # the teacher's
        hybrids={
            "step,calls=2": {"drafts": 5, "relaxation": 2.0},
            "step,calls=1": {"drafts": 3, "relaxation": 1.5, "grid": "shifted:8"},
            "lcm": {"grid": "shifted:6", "ended_by_student": (2, 3)},
        },
        evaluate={
            "samples": 10_000,
            "batch_size": 256,
            "metrics": ("fd", "kid", "precision_recall", "density_coverage"),
            "feature_steps": 2000,
        },
    )
