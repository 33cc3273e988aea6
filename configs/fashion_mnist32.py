"""Teacher for Fashion-MNIST: 60,000 grey images, 32×32, class-conditional U-Net of 2.9M parameters.

    apt-get install dataset-fashion-mnist
    drf data prepare fashion_mnist_idx --data_dir ~/data
    drf train    --config configs/fashion_mnist32.py --workdir runs/fashion_mnist/teacher
    drf evaluate --config configs/fashion_mnist32.py --workdir runs/fashion_mnist/teacher

For one H100; not timed yet. ``configs/fashion_mnist32.py:bf16`` computes in bfloat16;
``:smoke`` trains a tiny network on the first 64 images for 4 steps, in seconds on a CPU. The data may be elsewhere:
``--config.data.data_dir=DIR``.
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
    config.data = {"name": "fashion_mnist_idx", "data_dir": "~/data"}
    config.process = {"name": "cosine"}
    config.output = "v"
    config.network = {
        "name": "unet",
        "width": 40,
        "multipliers": (1, 2, 2),
        "blocks": 2,
        "attention": (False, True, True),
        "heads": 2,  # of 40 features: cuDNN takes multiples of 8
        "attention_backend": "auto",
        "dtype": "bfloat16" if "bf16" in options else "float32",
    }
    config.objective = {"weighting": "v", "times": "stratified", "cond_dropout": 0.1}
    config.optimizer = {
        "learning_rate": 5e-4,
        "schedule": "cosine",
        "warmup": 200,
        "weight_decay": 0.0,
        "clip": 1.0,
    }
    config.train = {
        "steps": 8000,
        "batch_size": 512,
        "ema": 0.999,
        "accumulate": 1,
        "log_every": 100,
        "checkpoint_every": 2000,
        "sample_every": 2000,
        "keep": 2,
        "held_out": 0,
        "evaluate_every": 0,
        "keep_best": 0,
        "tensorboard": False,
    }
    config.mesh = {"data": -1, "draft": 1, "model": 1, "params": "replicate"}
    config.sampler = {"name": "serial", "step": "ddim", "steps": 48}
    config.evaluate = {
        "samples": 10_000,
        "batch_size": 512,
        "methods": training_free.methods(),
        "students": (),
        "metrics": ("fd", "kid", "precision_recall", "density_coverage", "memorisation"),
        "feature_space": "classifier-64",
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
        config.data.limit = 64
        config.network.update(
            width=8, multipliers=(1, 2), blocks=1, attention=(False, True), heads=2
        )
        config.optimizer.warmup = 1
        config.train.update(steps=4, batch_size=8, log_every=2, checkpoint_every=2, sample_every=0)
        config.sampler.steps = 6
        config.evaluate.update(
            samples=16, batch_size=8, repeats=2, metrics=("fd",), feature_steps=20
        )
        config.evaluate.methods = training_free.methods(smoke=True)
    return config
