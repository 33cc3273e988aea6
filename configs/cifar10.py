"""Teacher for CIFAR-10: 50,000 photographs, 32×32, U-Net of 38.5M parameters, in the setting of DDPM and DDIM.

    pip install 'drf_jax[tfds-official]'
    drf data prepare cifar10 --data_dir ~/data
    drf train    --config configs/cifar10.py:bf16 --workdir runs/cifar10/teacher
    drf evaluate --config configs/cifar10.py:bf16 --workdir runs/cifar10/teacher \\
        --config.evaluate.features=pt_inception-2015-12-05-6726825d.pth

Target: FID 4.67 with 50 DDIM steps (Song et al. 2021, Table 1, 50,000 samples). As there: 1000 noise levels with linear
β, noise prediction with its plain error, 800,000 updates of 128 images, Adam at 2e-4, averaging with 0.9999. Other than
there: class-conditional, and neither dropout nor flips.

For eight H100. Not yet run. ``smoke`` trains a tiny network on 64 of the embedded digits instead, for 4 updates, in
seconds on a CPU. ``--config.data.data_dir=DIR`` says where the data are.
"""

from ml_collections import ConfigDict

from drf_jax.configs import training_free


def get_config(arg: str = "") -> ConfigDict:
    options = set(filter(None, arg.split(",")))
    if unknown := options - {"bf16", "smoke"}:
        raise ValueError(f"argument {min(unknown)!r}: choose among bf16, smoke")
    config = ConfigDict()
    config.task = "teacher"
    config.seed = 0
    config.data = {"name": "cifar10", "data_dir": "~/data"}
    config.process = {"name": "table", "betas": "linear", "steps": 1000}
    config.output = "eps"
    config.network = {
        "name": "unet",
        "width": 128,
        "multipliers": (1, 2, 2, 2),
        "blocks": 2,
        "attention": (False, True, False, False),
        "heads": 4,
        "dtype": "bfloat16" if "bf16" in options else "float32",
    }
    config.objective = {"weighting": "eps", "times": "uniform", "cond_dropout": 0.1}
    config.optimizer = {
        "learning_rate": 2e-4,
        "schedule": "constant",
        "warmup": 5000,
        "weight_decay": 0.0,
        "clip": 1.0,
    }
    config.train = {
        "steps": 800_000,
        "batch_size": 128,
        "ema": 0.9999,
        "accumulate": 1,
        "log_every": 500,
        "checkpoint_every": 10_000,
        "sample_every": 50_000,
        "keep": 2,
        "held_out": 0,
        "evaluate_every": 0,
        "keep_best": 0,
        "tensorboard": False,
    }
    config.mesh = {"data": -1, "draft": 1, "model": 1, "params": "replicate"}
    config.sampler = {"name": "serial", "step": "ddim", "steps": 50}
    config.evaluate = {
        "samples": 50_000,
        "batch_size": 1024,
        "methods": training_free.methods(teacher=50),
        "students": (),
        "metrics": ("fd", "kid", "precision_recall", "memorisation"),
        "feature_space": "inception-pytorch-fid",
        "features": "",
        "feature_steps": 2000,
        "judge": "",  # a second feature space, for fd_judge
        "judge_features": "",
        "judge_statistics": "",
        "statistics": "",
        "real": 0,
        "seeds": 1,
        "repeats": 20,
    }
    if "smoke" in options:
        config.data = {"name": "digits", "limit": 64}
        config.network.update(
            width=8, multipliers=(1, 2), blocks=1, attention=(False, True), heads=2
        )
        config.optimizer.warmup = 1
        config.train.update(steps=4, batch_size=8, log_every=2, checkpoint_every=2, sample_every=0)
        config.sampler.steps = 6
        config.evaluate.update(
            samples=16,
            batch_size=8,
            repeats=2,
            metrics=("fd",),
            feature_space="classifier-64",
            feature_steps=20,
        )
        config.evaluate.methods = training_free.methods(smoke=True)
    return config
