"""How much more a program computes than XLA's cost analysis says, which counts a loop's body once.

The FLOPs of a matrix product or convolution are two for each pair of numbers that is multiplied,

    2 · (output's batch and features) · (kernel's input features) · Π_axis (pairs of output and kernel positions
        that meet an input that is neither padding nor a hole of dilation)                                         (1)

and the factor is Σ count · FLOPs / Σ FLOPs over a compiled program's products, with the counts of `hlo`.
"""

import math
import re

from drf_jax.flops import meeting
from drf_jax.plan.hlo import Instruction, Module, arrays


def loop_factor(module: Module) -> float:
    """At least 1; 1 for a program without loops or without products."""
    once, all_trips = 0, 0
    for i in module.instructions:
        count = module.counts[i.computation]
        if count and i.opcode in ("dot", "convolution"):
            flops = (dot_flops if i.opcode == "dot" else convolution_flops)(module, i)
            once, all_trips = once + flops, all_trips + count * flops
    return all_trips / once if once else 1.0


def dot_flops(module: Module, i: Instruction) -> int:
    """(1) of a plain product: no positions, the contracted axes are the input features."""
    left = arrays(module.shapes(i)[0])[0][1]
    axes = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", i.attributes)[1]
    contracted = math.prod(left[int(axis)] for axis in axes.split(",") if axis)
    return 2 * math.prod(arrays(i.shape)[0][1]) * contracted


def convolution_flops(module: Module, i: Instruction) -> int:
    """(1); TPUs write all products as convolutions, batched ones with dilated windows."""
    lhs, rhs, out = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", i.attributes).groups()
    (left, right), result = (arrays(s)[0][1] for s in module.shapes(i)), arrays(i.shape)[0][1]
    pairs = 1
    for axis in filter(str.isdigit, lhs):
        sizes = left[lhs.index(axis)], right[rhs.index(axis)], result[out.index(axis)]
        pairs *= meeting(*sizes, window(i, int(axis)))
    kept = result[out.index("b")] * result[out.index("f")]
    return 2 * kept * right[rhs.index("i")] * pairs


def window(i: Instruction, axis: int) -> tuple[int, int, int, int]:
    """(stride, low padding, input's dilation, kernel's dilation) along a spatial axis."""
    match = re.search(r"window=\{([^}]*)\}", i.attributes)
    fields = dict(re.findall(r"(\w+)=([^ }]+)", match[1])) if match else {}

    def value(name, default):
        return int(fields[name].split("x")[axis].split("_")[0]) if name in fields else default

    return value("stride", 1), value("pad", 0), value("lhs_dilate", 1), value("rhs_dilate", 1)
