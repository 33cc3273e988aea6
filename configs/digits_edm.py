"""EDM teacher for the embedded digits (Karras et al. 2022), with the process, training and rows of configs/edm.py.

    drf train    --config configs/digits_edm.py --workdir runs/digits_edm/teacher
    drf evaluate --config configs/digits_edm.py --workdir runs/digits_edm/teacher

Network, data and updates are those of configs/digits.py, on 2 CPU cores. ``:smoke`` trains for 20 steps.
"""

from ml_collections import ConfigDict

from drf_jax.configs import digits
from drf_jax.configs.edm import edm


def get_config(arg: str = "") -> ConfigDict:
    return edm(digits.get_config(arg), smoke=arg == "smoke")
