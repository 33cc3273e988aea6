"""EDM teacher for CIFAR-10 (Karras et al. 2022): U-Net of 57.8M parameters, class-conditional.

    drf train    --config configs/cifar10_edm.py:bf16 --workdir runs/cifar10/edm
    drf evaluate --config configs/cifar10_edm.py:bf16 --workdir runs/cifar10/edm \\
        --config.evaluate.features=pt_inception-2015-12-05-6726825d.pth

Target: FID 1.79 with 35 calls (1.97 without classes; their abstract). As there: 200 million images in batches of 512,
Adam at 1e-3, and an average with a half-life of 500,000 images. Other than there: no dropout, and no augmentation,
which their figure needs. Data, evaluation and arguments are those of configs/cifar10.py; rows those of configs/edm.py.

For eight H100. Not yet run. ``smoke`` runs in seconds on a CPU, on the embedded digits.
"""

from ml_collections import ConfigDict

from drf_jax.configs import cifar10
from drf_jax.configs.edm import edm


def get_config(arg: str = "") -> ConfigDict:
    smoke = "smoke" in arg.split(",")
    config = edm(cifar10.get_config(arg), smoke)
    if not smoke:
        config.network.update(
            multipliers=(2, 2, 2), blocks=4, attention=(False, True, False), heads=1
        )
        config.optimizer.update(learning_rate=1e-3, warmup=20_000)
        config.train.update(steps=400_000, batch_size=512, ema=0.9993)
    return config
