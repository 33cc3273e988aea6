"""PFGM++ teacher for Fashion-MNIST (Xu et al. 2023): D = 2048 extra dimensions, and the network of `fashion_mnist32`.

    drf train    --config configs/fashion_mnist32_pfgmpp.py --workdir runs/fashion_mnist/pfgmpp
    drf evaluate --config configs/fashion_mnist32_pfgmpp.py --workdir runs/fashion_mnist/pfgmpp

Data, network, updates and the arguments ``bf16`` and ``smoke`` are those of configs/fashion_mnist32.py; process,
preconditioning, training times and rows those of configs/edm.py. For one H100. Not yet run.
"""

from ml_collections import ConfigDict

from drf_jax.configs import fashion_mnist32
from drf_jax.configs.edm import edm, pfgmpp


def get_config(arg: str = "") -> ConfigDict:
    config = edm(fashion_mnist32.get_config(arg), smoke="smoke" in arg.split(","))
    return pfgmpp(config, dimensions=2048.0)
