"""PFGM++ teacher for CIFAR-10 (Xu et al. 2023): `cifar10_edm` with D = 2048 extra dimensions.

    drf train    --config configs/cifar10_pfgmpp.py:bf16 --workdir runs/cifar10/pfgmpp
    drf evaluate --config configs/cifar10_pfgmpp.py:bf16 --workdir runs/cifar10/pfgmpp \\
        --config.evaluate.features=pt_inception-2015-12-05-6726825d.pth

Target: FID 1.91 with 35 calls without classes, 1.74 with them (their abstract). ``--config.process.dimensions=D`` is D.
What differs from the paper is what configs/cifar10_edm.py names. For eight H100. Not yet run. ``smoke`` runs in seconds
on a CPU, on the embedded digits.
"""

from ml_collections import ConfigDict

from drf_jax.configs import cifar10_edm
from drf_jax.configs.edm import pfgmpp


def get_config(arg: str = "") -> ConfigDict:
    return pfgmpp(cifar10_edm.get_config(arg), dimensions=2048.0)
