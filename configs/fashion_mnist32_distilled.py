"""Students of the Fashion-MNIST teacher (argument ``method=NAME``).

    drf train --config configs/fashion_mnist32_distilled.py:method=adversarial \\
        --workdir runs/fashion_mnist/adversarial --config.teacher=runs/fashion_mnist/teacher
    drf evaluate --config configs/fashion_mnist32.py --workdir runs/fashion_mnist/teacher \\
        "--config.evaluate.students=('runs/fashion_mnist/adversarial',)"

``method`` is ``draft_refine``, ``draft_refine_aggressive``, ``draft_refine_anchored`` or ``step`` (of which ``calls=4``
says in how many calls), ``progressive``, ``consistency_distillation``, ``consistency_training``,
``lcm``, ``lcm_lora``, ``adversarial`` or ``pfgmpp``. For one H100; not yet run at this length. ``smoke`` trains for a
few updates, in seconds on a CPU (``method=lcm,smoke``); its teacher is ``configs/fashion_mnist32.py:smoke``.
"""

from ml_collections import ConfigDict

from drf_jax.configs.distilled import DRAFT_REFINE, distilled

TRAJECTORIES = {
    "teacher_steps": 48,
    "trajectories": 48_000,
    "trajectory_batch": 1000,
    "on_policy_after": 2500,
}
"""Of the methods that are trained on the teacher's walks: on-policy in the last part."""
ON_POLICY = TRAJECTORIES | {"on_policy_after": 0}
"""From the first update."""
METHODS = {
    "draft_refine": {**ON_POLICY, "rounds": 2, "drafts": 2},
    "draft_refine_aggressive": {**ON_POLICY, "rounds": 3, "drafts": 2},
    "draft_refine_anchored": {**ON_POLICY, "rounds": 4, "drafts": 1},
    "step": {"steps": 4, **TRAJECTORIES, "batch_size_on_policy": 512},
    "progressive": {"start": 64, "last": 1},
    "consistency_distillation": {
        "intervals": 17,
        "proposal": "log_normal",
        "distance": "pseudo_huber",
        "target": "stop_gradient",
    },
    "consistency_training": {
        "first_intervals": 10,
        "last_intervals": 40,  # as for the emoji: too few updates for more
        "proposal": "log_normal",
        "distance": "pseudo_huber",
        "target": "stop_gradient",
    },
    "lcm": {"teacher_steps": 48, "stride": 4, "guidance": (1.0, 3.0)},
    "lcm_lora": {"teacher_steps": 48, "stride": 4, "guidance": (1.0, 3.0), "rank": 32},
    "adversarial": {
        "steps": 4,
        "distill_weight": 20.0,
        "r1_weight": 10.0,
        "discriminator_learning_rate": 1e-3,
        "features": "",
        "feature_steps": 2000,
        "feature_seed": 1,
    },
    "pfgmpp": {"dimensions": 2048.0},
}


def get_config(arg: str = "") -> ConfigDict:
    return distilled(
        arg,
        METHODS,
        teacher="runs/fashion_mnist/teacher",
        optimizer={"learning_rate": 2e-4, "warmup": 100},
        players={"learning_rate": 5e-5},
        train={
            "steps": 4000,
            "batch_size": 1024,
            "ema": 0.999,
            "log_every": 100,
            "checkpoint_every": 1000,
            "sample_every": 1000,
        },
        updates={"progressive": 1000},  # of each stage
        # A round is several evaluations. Smaller ones leave a GPU waiting: an update is thousands of kernels.
        rounds_per_update={
            "draft_refine": 1024,
            "draft_refine_aggressive": 1536,
            "draft_refine_anchored": 4096,
        },
        rates=dict.fromkeys(DRAFT_REFINE, 5e-5),
        evaluate={
            "samples": 10_000,
            "batch_size": 512,
            "metrics": ("fd", "kid", "precision_recall", "density_coverage"),
            "feature_steps": 2000,
        },
    )
