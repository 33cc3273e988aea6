"""Students of the CIFAR-10 teacher (argument ``method=NAME``).

    drf train --config configs/cifar10_distilled.py:method=progressive \\
        --workdir runs/cifar10/progressive --config.teacher=runs/cifar10/teacher
    drf evaluate --config configs/cifar10.py --workdir runs/cifar10/teacher \\
        "--config.evaluate.students=('runs/cifar10/progressive',)"

Published FID on CIFAR-10, which is what to reach (with 50,000 samples and the Inception of ``inception-tf1``):

===========================  =====================  ===========================================
``method``                   sequential calls: FID  published by
===========================  =====================  ===========================================
``progressive``              8: 2.57, 4: 3.00,      Salimans & Ho 2022 (arXiv 2202.00512)
                             2: 4.51, 1: 9.12
``consistency_distillation``  2: 2.93, 1: 3.55      Song et al. 2023 (arXiv 2303.01469), LPIPS
``consistency_training``     2: 2.46, 1: 2.83       Song & Dhariwal 2023 (arXiv 2310.14189)
===========================  =====================  ===========================================

For ``draft_refine``, ``draft_refine_aggressive``, ``draft_refine_anchored``, ``step``, ``lcm``, ``lcm_lora``,
``adversarial`` and ``pfgmpp`` (which is not trained from the beginning here: see ``configs/cifar10_pfgmpp.py``) no
figure on CIFAR-10 is known to us. For eight H100. Not yet run. ``smoke`` trains for a few updates, in seconds on a CPU
(``method=progressive,smoke``), and wants any small teacher, such as ``configs/digits.py:smoke``.
"""

from ml_collections import ConfigDict

from drf_jax.configs.distilled import distilled

TRAJECTORIES = {
    "teacher_steps": 48,
    "trajectories": 200_000,
    "trajectory_batch": 1000,
    "trajectory_dtype": "float16",
    "on_policy_after": 75_000,
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
    "step": {"steps": 4, **TRAJECTORIES, "batch_size_on_policy": 128},
    "progressive": {"start": 1024, "last": 1},
    "consistency_distillation": {
        "intervals": 17,
        "solver": "heun",
        "proposal": "uniform",
        "distance": "pseudo_huber",
        "target": "ema",
    },
    "consistency_training": {
        "first_intervals": 10,
        "last_intervals": 1280,
        "proposal": "log_normal",
        "distance": "pseudo_huber",
        "target": "stop_gradient",
    },
    "lcm": {"teacher_steps": 48, "stride": 4, "guidance": (1.0, 2.0)},
    "lcm_lora": {"teacher_steps": 48, "stride": 4, "guidance": (1.0, 2.0), "rank": 64},
    "adversarial": {
        "steps": 4,
        "distill_weight": 20.0,
        "r1_weight": 10.0,
        "discriminator_learning_rate": 5e-4,
        "features": "",
        "feature_steps": 10_000,
        "feature_seed": 1,
    },
    "pfgmpp": {"dimensions": 2048.0},
}


def get_config(arg: str = "") -> ConfigDict:
    return distilled(
        arg,
        METHODS,
        teacher="runs/cifar10/teacher",
        optimizer={"learning_rate": 1e-4, "warmup": 1000},
        players={"learning_rate": 5e-5},
        train={
            "steps": 100_000,
            "batch_size": 512,
            "ema": 0.9999,
            "log_every": 500,
            "checkpoint_every": 10_000,
            "sample_every": 10_000,
        },
        updates={"progressive": 50_000, "consistency_training": 400_000},  # of each stage
        # A round is several evaluations.
        batches={"draft_refine": 128, "draft_refine_aggressive": 128, "draft_refine_anchored": 256},
        evaluate={
            "samples": 50_000,
            "batch_size": 1000,
            "metrics": ("fd", "kid", "precision_recall"),
            "feature_steps": 10_000,
        },
    )
