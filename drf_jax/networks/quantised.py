"""A trained network with its matrices in int8, through qwix (``pip install 'drf_jax[int8]'``).

A product y = x W becomes, with one scale s_j for each column of W (and, with activations, u_i for each row of x),

    y_ij = s_j sum_k x_ik q_kj,         q_kj = round(W_kj / s_j),    s_j = max_k |W_kj| / 127.5                      (1)
    y_ij = u_i s_j sum_k p_ik q_kj,     p_ik = round(x_ik / u_i),    u_i = max_k |x_ik| / 127.5                      (2)

and at most 127. (1) quarters the memory of float32 weights and multiplies as before; in (2) the sum itself is of int8
numbers. There is no calibration and no training. Convolutions likewise, in form (2) only. Norms, biases, embedding
tables and the heads that draft, which are stacked, stay as they are.
"""

import dataclasses
from typing import Any, TypeVar

import flax.linen as nn
import jax

from drf_jax.errors import UserError
from drf_jax.typing import Params

Holder = TypeVar("Holder")

PRODUCTS = ("dot_general", "conv_general_dilated")
NOT_HEADS = r"(?!heads|ahead).*"


def quantised(
    network: nn.Module, params: Params, *args: Any, activations: bool = False
) -> tuple[nn.Module, Params]:
    """``network`` and ``params`` with (1), or with (2) if ``activations``.

    Args:
      network: a Linen module.
      params: its parameters.
      *args: of a call, arrays or shapes.
      activations: quantise what is multiplied with the weights too.

    Raises:
      UserError: qwix is not installed.
    """
    try:
        import qwix
    except ModuleNotFoundError:
        raise UserError("int8 needs qwix: pip install 'drf_jax[int8]'") from None
    rule = qwix.QuantizationRule(
        module_path=NOT_HEADS,
        weight_qtype="int8",
        act_qtype="int8" if activations else None,
        op_names=PRODUCTS if activations else PRODUCTS[:1],
    )
    made = qwix.quantize_model(network, qwix.PtqProvider([rule]))
    shapes = jax.eval_shape(made.init, jax.random.key(0), *args)["params"]
    return made, qwix.quantize_params(params, shapes)


def with_quantised(holder: Holder, *args: Any, activations: bool = False) -> Holder:
    """A dataclass with ``network`` and ``params`` (a denoiser, a learned drafter or refiner), both `quantised`."""
    network, params = quantised(holder.network, holder.params, *args, activations=activations)
    return dataclasses.replace(holder, network=network, params=params)
