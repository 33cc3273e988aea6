"""Students of the digits teacher by every way to distil (argument ``method=NAME``).

    drf train --config configs/digits_distilled.py:method=consistency_distillation \\
        --workdir runs/digits/consistency_distillation --config.teacher=runs/digits/teacher
    drf evaluate --config configs/digits_distilled.py:method=consistency_distillation \\
        --workdir runs/digits/consistency_distillation --config.teacher=runs/digits/teacher

==============================  =====================================================  ==============
``method``                      rows                                                   sequential calls
==============================  =====================================================  ==============
``draft_refine,calls=4``        learned: draft and refine networks                     its own (8, 4, 2)
``draft_refine_aggressive``     learned-aggressive: one network that drafts ahead      its own (8, 4, 2)
``draft_refine_anchored``       learned-anchored: the same, its call sees the anchor   its own (8, 4, 2)
``step,calls=4``                step-distilled: the control at the depth of learned    its own (8, 4, 2, 1)
``progressive``                 progressive, halving 32 steps five times               8, 4, 2, 1
``consistency_distillation``    consistency-distillation                               1, 2, 4
``consistency_training``        consistency-training                                   1, 2, 4
``lcm``                         lcm, shown guidance weights from 1 to 3                1, 2, 4
``lcm_lora``                    lcm-lora: low-rank deltas only                         1, 2, 4
``adversarial``                 adversarial, and score distillation                    1, 2, 4
``pfgmpp``                      pfgmpp: the teacher goes on with PFGM++'s noise        8, 4, 2
==============================  =====================================================  ==============

``consistency_distillation``, ``lcm`` and ``progressive`` also draft for their teacher: hybrid, hybrid-lcm,
hybrid-progressive in 2, 4 and 8 calls. Minutes each on 2 CPU cores. ``smoke`` trains for a few updates
(``method=lcm,smoke``). All students in one table: with the teacher's config
``--config.evaluate.students=('runs/digits/consistency_distillation',...)``.
"""

from ml_collections import ConfigDict

from drf_jax.configs.distilled import distilled

TRAJECTORIES = {
    "teacher_steps": 48,
    "trajectories": 8192,
    "trajectory_batch": 512,
    "on_policy_after": 1500,
}
"""Of the methods that are trained on the teacher's walks: on-policy in the last part."""
METHODS = {
    "draft_refine": {**TRAJECTORIES, "rounds": 2, "drafts": 2},
    "draft_refine_aggressive": {**TRAJECTORIES, "rounds": 3, "drafts": 2},
    "draft_refine_anchored": {
        **TRAJECTORIES,
        "rounds": 4,
        "drafts": 1,
        "on_policy_after": 0,
    },
    "step": {"steps": 4, **TRAJECTORIES, "batch_size_on_policy": 48},
    "progressive": {"start": 32, "last": 1},
    "consistency_distillation": {
        "intervals": 17,
        "proposal": "log_normal",
        "distance": "pseudo_huber",
        "target": "stop_gradient",
    },
    "consistency_training": {
        "first_intervals": 10,
        "last_intervals": 160,
        "proposal": "log_normal",
        "distance": "pseudo_huber",
        "target": "stop_gradient",
    },
    "lcm": {"teacher_steps": 48, "stride": 4, "guidance": (1.0, 3.0)},
    "lcm_lora": {"teacher_steps": 48, "stride": 4, "guidance": (1.0, 3.0), "rank": 16},
    "adversarial": {
        "steps": 4,
        "distill_weight": 20.0,
        "r1_weight": 10.0,  # the published 1e-5 lets the heads learn so few images by heart
        "discriminator_learning_rate": 4e-3,
        "features": "",
        "feature_steps": 600,
        "feature_seed": 1,
    },
    "pfgmpp": {"dimensions": 128.0},
}


def get_config(arg: str = "") -> ConfigDict:
    return distilled(
        arg,
        METHODS,
        teacher="runs/digits/teacher",
        optimizer={"learning_rate": 1e-3, "warmup": 20},
        players={"learning_rate": 1e-4},
        train={
            "steps": 2000,
            "batch_size": 128,
            "ema": 0.99,
            "log_every": 100,
            "checkpoint_every": 500,
            "sample_every": 500,
        },
        updates={"progressive": 800},  # of each stage
        # A round is several evaluations.
        batches={"draft_refine": 48, "draft_refine_aggressive": 48, "draft_refine_anchored": 96},
        evaluate={"samples": 1797, "batch_size": 256, "metrics": ("fd",), "feature_steps": 600},
        mesh=1,
        spacing=0.7,  # shorter steps at the image (docs/ablations.md)
    )
