"""Draft–refine student of the digits teacher: 8 sequential calls (argument ``calls=8``) or 4.

    drf train --config configs/digits_learned.py:calls=8 --workdir runs/digits/learned-8 \\
        --config.teacher=runs/digits/teacher

About a minute on 2 CPU cores. In aggressive mode, one network that refines and drafts the next round: it
starts as the training-free sampler that it has to beat, so 300 teacher-forced updates are enough. ``smoke`` trains for
10 steps (``calls=8,smoke``). Longer trainings, the other modes and every rival are in ``configs/digits_distilled.py``.
"""

from ml_collections import ConfigDict

DRAFTS = {"calls=8": 3, "calls=4": 4}
"""Of a round: as many as the training-free rows of that depth have (`configs/digits.py`)."""


def get_config(arg: str = "") -> ConfigDict:
    options = set(filter(None, arg.split(",")))
    if unknown := options - {*DRAFTS, "smoke"}:
        raise ValueError(f"argument {min(unknown)!r}: choose among {', '.join(DRAFTS)}, smoke")
    depth = "calls=4" if "calls=4" in options else "calls=8"
    updates = 300
    config = ConfigDict()
    config.task = "distill"
    config.seed = 0
    config.teacher = "runs/digits/teacher"
    config.method = {
        "name": "draft_refine_aggressive",
        "teacher_steps": 48,
        "rounds": int(depth[-1]) - 1,
        "drafts": DRAFTS[depth],
        "form": "noise",
        "draft_weight": 1.0,
        "refine_weight": 1.0,
        "end_weight": 4.0,
        "trajectories": 2048,
        "trajectory_batch": 512,
        "on_policy_after": updates,  # never
        "batch_size_on_policy": 0,
    }
    config.optimizer = {"learning_rate": 1e-3, "schedule": "cosine", "warmup": 20, "clip": 1.0}
    config.train = {
        "steps": updates,
        "batch_size": 24,
        "ema": 0.99,
        "accumulate": 1,
        "log_every": 50,
        "checkpoint_every": 100,
        "sample_every": 0,
        "keep": 2,
        "tensorboard": False,
    }
    config.mesh = {"data": 1, "draft": 1, "model": 1, "params": "replicate"}
    config.evaluate = {
        "row": "learned",
        "samples": 1797,
        "batch_size": 256,
        "metrics": ("fd",),
        "seeds": 1,
    }
    if "smoke" in options:
        config.optimizer.warmup = 2
        config.train.update(steps=10, log_every=5, checkpoint_every=5, sample_every=0, batch_size=8)
        config.method.update(
            trajectories=32, trajectory_batch=16, on_policy_after=5, batch_size_on_policy=4
        )
        config.evaluate.samples = 64
    return config
