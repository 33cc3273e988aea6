"""Floating-point operations of a function: those of its matrix products and convolutions, counted as it is traced.

A multiply–add is two operations, and only pairs of numbers that are really multiplied count:

    product       2 · (elements of the result) · (elements that each of them contracts)                              (1)
    convolution   2 · (result's batch and features) · (kernel's input features) · Π_axis (pairs of result and kernel
                  positions that meet an input which is neither padding nor a hole of dilation)                      (2)

A scan's body counts as often as it runs, a ``while_loop``'s once (nobody knows how often it will), and of several
branches the most expensive. Nothing is compiled and no backend is asked, so the count is the same everywhere, and a
result that is not used counts too; element-wise work and hand-written kernels (cuDNN's attention) are not in it.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn


def operations(fn: Callable[..., Any], *args: Any) -> float:
    """Operations of ``fn(*args)``; the arrays may be shapes."""
    return float(of_jaxpr(jax.make_jaxpr(fn)(*args).jaxpr))


def of_jaxpr(jaxpr: Jaxpr) -> int:
    return sum(map(of_equation, jaxpr.eqns))


def of_equation(eqn: JaxprEqn) -> int:
    name, params = eqn.primitive.name, eqn.params
    if name == "dot_general":
        return of_product(eqn)
    if name == "conv_general_dilated":
        return of_convolution(eqn)
    inner = [of_jaxpr(jaxpr) for jaxpr in jaxprs_in(params)]
    if name == "cond":
        return max(inner, default=0)
    times = {"scan": lambda: params["length"], "shard_map": lambda: params["mesh"].size}
    return times.get(name, lambda: 1)() * sum(inner)


def jaxprs_in(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """The programs that an equation calls."""
    for value in params.values():
        for found in value if isinstance(value, tuple | list) else (value,):
            if isinstance(found, ClosedJaxpr):
                yield found.jaxpr
            elif isinstance(found, Jaxpr):
                yield found


def of_product(eqn: JaxprEqn) -> int:
    """(1)."""
    (contracted, _), _ = eqn.params["dimension_numbers"]
    left = eqn.invars[0].aval.shape
    return 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)


def of_convolution(eqn: JaxprEqn) -> int:
    """(2)."""
    p, (left, right) = eqn.params, (v.aval.shape for v in eqn.invars)
    lhs, rhs, out = p["dimension_numbers"]
    result = eqn.outvars[0].aval.shape
    pairs = 1
    for axis, (i, k, o) in enumerate(zip(lhs[2:], rhs[2:], out[2:], strict=True)):
        window = (
            p["window_strides"][axis],
            p["padding"][axis][0],
            p["lhs_dilation"][axis],
            p["rhs_dilation"][axis],
        )
        pairs *= meeting(left[i], right[k], result[o], window)
    return 2 * result[out[0]] * result[out[1]] * right[rhs[1]] * pairs


def meeting(size: int, kernel: int, out: int, window: tuple[int, int, int, int]) -> int:
    """Pairs of output and kernel positions along an axis that meet an input.

    ``window`` is (stride, low padding, input's dilation, kernel's dilation).
    """
    stride, low, input_dilation, kernel_dilation = window
    place = np.arange(out)[:, None] * stride + np.arange(kernel) * kernel_dilation - low
    inside = (place >= 0) & (place <= (size - 1) * input_dilation) & (place % input_dilation == 0)
    return int(inside.sum())
