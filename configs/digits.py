"""Teacher for the embedded digits: 1,797 real handwritten digits, 8×8, class-conditional DiT of 254k parameters.

    drf train --config configs/digits.py --workdir runs/digits/teacher

About 35 s on 2 CPU cores. ``configs/digits.py:smoke`` trains for 20 steps.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    config = ConfigDict()
    config.task = "teacher"
    config.seed = 0
    config.data = {"name": "digits"}
    config.process = {"name": "cosine"}
    config.output = "v"
    config.network = {"name": "dit", "patch": 2, "width": 64, "depth": 3, "heads": 4}
    config.objective = {"weighting": "v", "times": "stratified", "cond_dropout": 0.1}
    config.optimizer = {
        "learning_rate": 2e-3,
        "schedule": "cosine",
        "warmup": 100,
        "weight_decay": 0.0,
        "clip": 1.0,
    }
    config.train = {
        "steps": 2500,
        "batch_size": 64,
        "ema": 0.995,
        "accumulate": 1,
        "log_every": 100,
        "checkpoint_every": 500,
        "sample_every": 500,
        "keep": 2,
        "held_out": 0,
        "evaluate_every": 0,
        "keep_best": 0,
        "tensorboard": False,
    }
    config.mesh = {"data": 1, "draft": 1, "model": 1, "params": "replicate"}
    config.sampler = {"name": "serial", "step": "ddim", "steps": 48}
    config.evaluate = {
        "samples": 1797,
        "batch_size": 256,
        "methods": {
            "ddim-48": {"name": "serial", "steps": 48},
            "ddim-8": {"name": "serial", "steps": 8},
            "ddim-4": {"name": "serial", "steps": 4},
            "driffusion-conservative-8": {
                "name": "driffusion",
                "mode": "conservative",
                "steps": 16,
                "drafts": 3,
            },
            "driffusion-aggressive-8": {
                "name": "driffusion",
                "mode": "aggressive",
                "steps": 21,
                "drafts": 3,
            },
            "driffusion-aggressive-4": {
                "name": "driffusion",
                "mode": "aggressive",
                "steps": 12,
                "drafts": 4,
            },
        },
        "students": (),
        "metrics": ("fd",),
        "feature_space": "classifier-64",
        "features": "",
        "feature_steps": 600,
        "judge": "",  # a second feature space, for fd_judge
        "judge_features": "",
        "judge_statistics": "",
        "statistics": "",
        "real": 0,
        "seeds": 1,
        "repeats": 20,
    }
    if arg not in ("", "smoke"):
        raise ValueError(f"argument {arg!r}: choose smoke or none")
    if arg == "smoke":
        config.optimizer.warmup = 5
        config.train.update(
            steps=20, log_every=5, checkpoint_every=10, sample_every=0, batch_size=16
        )
        config.evaluate.update(samples=64, batch_size=64, feature_steps=60, repeats=3)
    return config
