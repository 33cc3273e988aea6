"""PFGM++ teacher for the embedded digits (Xu et al. 2023): configs/digits_edm.py with D = 128 extra dimensions.

    drf train    --config configs/digits_pfgmpp.py --workdir runs/digits_pfgmpp/teacher
    drf evaluate --config configs/digits_pfgmpp.py --workdir runs/digits_pfgmpp/teacher

``--config.process.dimensions=D`` is D; D → ∞ is configs/digits_edm.py. On 2 CPU cores; ``:smoke`` trains for 20 steps.
"""

from ml_collections import ConfigDict

from drf_jax.configs import digits_edm
from drf_jax.configs.edm import pfgmpp


def get_config(arg: str = "") -> ConfigDict:
    return pfgmpp(digits_edm.get_config(arg), dimensions=128.0)
