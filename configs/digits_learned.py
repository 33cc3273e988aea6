"""Draft–refine student of the digits teacher: 4 rounds of 3 drafts, 8 sequential calls (argument ``calls=8``).

    drf train --config configs/digits_learned.py:calls=8 --workdir runs/digits/learned-8 \\
        --config.teacher=runs/digits/teacher

One to three minutes on 2 CPU cores: 600 teacher-forced updates of 48 rounds, then 200 on-policy updates of 96 rounds.
``calls=4`` makes 2 rounds, which reach further, and twice the updates; ``smoke`` trains for 10 steps
(``calls=8,smoke``). Other ways to train these two networks, the aggressive mode, and every rival are in
``configs/digits_distilled.py``.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    options = set(filter(None, arg.split(",")))
    calls = 4 if "calls=4" in options else 8
    if unknown := options - {"calls=4", "calls=8", "smoke"}:
        raise ValueError(f"argument {min(unknown)!r}: choose among calls=8, calls=4, smoke")
    updates = 6400 // calls
    config = ConfigDict()
    config.task = "distill"
    config.seed = 0
    config.teacher = "runs/digits/teacher"
    config.method = {
        "name": "draft_refine",
        "teacher_steps": 48,
        "rounds": calls // 2,
        "drafts": 3,
        "form": "noise",
        "draft_weight": 1.0,
        "end_weight": 4.0,
        "trajectories": 8192,
        "trajectory_batch": 512,
        "on_policy_after": 3 * updates // 4,
        "batch_size_on_policy": 192 // calls,
    }
    config.optimizer = {"learning_rate": 1e-3, "schedule": "cosine", "warmup": 20, "clip": 1.0}
    config.train = {
        "steps": updates,
        "batch_size": 48,
        "ema": 0.99,
        "accumulate": 1,
        "log_every": 50,
        "checkpoint_every": 200,
        "sample_every": 400,
        "keep": 2,
        "tensorboard": False,
    }
    config.mesh = {"data": 1, "draft": 1, "model": 1, "params": "replicate"}
    config.evaluate = {"samples": 1797, "batch_size": 256, "metrics": ("fd",), "seeds": 1}
    if "smoke" in options:
        config.optimizer.warmup = 2
        config.train.update(steps=10, log_every=5, checkpoint_every=5, sample_every=0, batch_size=8)
        config.method.update(
            trajectories=32, trajectory_batch=16, on_policy_after=5, batch_size_on_policy=4
        )
        config.evaluate.samples = 64
    return config
