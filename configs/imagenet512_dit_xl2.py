"""Teacher on the latents of 512×512 images, 64×64×4, 1,000 classes: DiT-XL/2 of 675M parameters, in bfloat16.

    drf plan --config configs/imagenet512_dit_xl2.py --topology v5e:16x16 --mesh data=128,draft=2
    drf plan --config configs/imagenet512_dit_xl2.py --topology v5e:16x16 --mesh data=32,draft=8 \\
        --program sample --method driffusion-conservative-12 --batch 32

For planning: the data are shapes without images (``drf_jax.data.shapes``), so ``drf train`` refuses it. Network, batch
and learning rate are those of Peebles & Xie 2023 (arXiv 2212.09748), who report FID 12.03 without guidance after 3M
updates. Parameters, average and optimizer state are split over ``data``, best a divisor of the width, 1,152 = 9 · 128.
Not yet run. ``:smoke`` is a tiny network of the same form.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    if arg not in ("", "smoke"):
        raise ValueError(f"argument {arg!r}: choose smoke or none")
    config = ConfigDict()
    config.task = "teacher"
    config.seed = 0
    config.data = {"name": "shapes", "image_shape": (64, 64, 4), "num_classes": 1000}
    config.process = {"name": "cosine"}
    config.output = "v"
    config.network = {
        "name": "dit",
        "patch": 2,
        "width": 1152,
        "depth": 28,
        "heads": 16,
        "dtype": "bfloat16",
        "remat": True,
    }
    config.objective = {"weighting": "v", "times": "stratified", "cond_dropout": 0.1}
    config.optimizer = {
        "learning_rate": 1e-4,
        "schedule": "constant",
        "warmup": 1000,
        "weight_decay": 0.0,
        "clip": 1.0,
    }
    config.train = {
        "steps": 3_000_000,
        "batch_size": 256,
        "ema": 0.9999,
        "accumulate": 1,
        "log_every": 100,
        "checkpoint_every": 5000,
        "sample_every": 0,
        "keep": 2,
        "held_out": 0,
        "evaluate_every": 0,
        "keep_best": 0,
        "tensorboard": False,
    }
    config.mesh = {"data": -1, "draft": 1, "model": 1, "params": "fsdp"}
    config.sampler = {"name": "serial", "step": "ddim", "steps": 48}
    config.evaluate = {
        "samples": 50_000,
        "batch_size": 256,
        "methods": {
            "ddim-48": {"name": "serial", "steps": 48},
            "driffusion-conservative-12": {
                "name": "driffusion",
                "mode": "conservative",
                "steps": 48,
                "drafts": 7,
            },
            "driffusion-aggressive-7": {
                "name": "driffusion",
                "mode": "aggressive",
                "steps": 48,
                "drafts": 8,
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
    if arg == "smoke":
        config.data.update(image_shape=(16, 16, 4))
        config.network.update(width=64, depth=2, heads=4)
        config.optimizer.warmup = 2
        config.train.update(steps=4, batch_size=16, log_every=2, checkpoint_every=2)
        config.evaluate.update(samples=16, batch_size=16, repeats=2)
    return config
