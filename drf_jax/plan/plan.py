"""A plan: one program of a config on one topology, its cost, its least time, and the largest batch that fits."""

import dataclasses
import math
import sys
from typing import Any

from tqdm import tqdm

from drf_jax.errors import UserError
from drf_jax.plan.chips import GIB
from drf_jax.plan.cost import Cost, DoesNotFit, compile_cost
from drf_jax.plan.programs import Program
from drf_jax.plan.roofline import roofline
from drf_jax.plan.search import largest
from drf_jax.plan.topology import Topology

ESTIMATE = "roofline estimate: a lower bound, not a measurement"


@dataclasses.dataclass(frozen=True)
class Plan:
    """``cost`` is that of a call at ``batch``, the global one; ``bound`` says how the largest batch was found."""

    program: str
    topology: Topology
    mesh: dict[str, int]
    batch: int
    cost: Cost
    effort: str
    largest_batch: int | None = None
    bound: str = "not searched"

    @property
    def record(self) -> dict[str, Any]:
        """As JSON: bytes, seconds and FLOPs of a call on each chip."""
        cost, chip = self.cost, self.topology.chip
        record = {
            "program": self.program,
            "topology": self.topology.name,
            "chips": len(self.topology.devices),
            "mesh": self.mesh,
            "batch": self.batch,
            "effort": self.effort,
            "bytes": {
                "arguments": cost.arguments,
                "temporaries": cost.temporaries,
                "outputs": cost.outputs,
                "code": cost.code,
                "total": cost.memory,
            },
            "flops": cost.flops,
            "bytes_accessed": cost.accessed,
            "collectives": [dataclasses.asdict(c) for c in cost.collectives],
            "compile_seconds": round(cost.compile_seconds, 1),
            "largest_batch": self.largest_batch,
            "largest_batch_bound": self.bound,
        }
        if chip is not None:
            least = roofline(cost, chip)
            record["chip_bytes"] = chip.hbm
            record["estimate"] = {
                "what": ESTIMATE,
                **dataclasses.asdict(least),
                "seconds": least.seconds,
                "bound": least.bound,
            }
        return record


def make_plan(
    program: Program,
    topology: Topology,
    mesh: dict[str, int],
    batch: int,
    memory: int | None,
    effort: str = "low",
    compiles: int = 0,
) -> Plan:
    """Compile ``program`` at ``batch``, then search the largest batch.

    Args:
      mesh: its axes, for the report.
      memory: bytes of a chip; None: as many as it takes.
      effort: of the compiler, one of `drf_jax.plan.cost.EFFORTS`.
      compiles: programs to compile in the search; 0: none.

    Raises:
      UserError: the batch does not fit; the message says which does, if it was searched.
    """
    if batch % program.unit:
        raise UserError(
            f"batch of {batch}: must be a multiple of {program.unit}"
            " (the devices that split it and config.train.accumulate)"
        )
    label, unit = f"{program.name} on {topology.name}", program.unit
    tried: dict[int, Cost | DoesNotFit] = {}

    def fits(n: int) -> bool:
        bar.set_postfix(batch=n * unit)
        tried[n * unit] = attempt(program, n * unit, len(topology.devices), memory, effort)
        bar.update()
        return isinstance(tried[n * unit], Cost)

    with tqdm(total=compiles + 1, desc=label, unit="compile", disable=None, file=sys.stderr) as bar:
        low, high = largest(fits, batch // unit, compiles + 1)
    cost = tried[batch]
    if isinstance(cost, DoesNotFit):
        found = f"the largest batch found that fits is {low * unit}" if low else "none smaller fits"
        hint = f"; {found}" if compiles else ""
        raise UserError(f"{label}: batch {batch} does not fit a chip: {cost}{hint}")
    plan = Plan(program.name, topology, mesh, batch, cost, effort)
    if not compiles:
        return plan
    bound = "no limit found" if high is None else f"{high * unit} does not fit"
    return dataclasses.replace(plan, largest_batch=low * unit, bound=bound)


def attempt(
    program: Program, batch: int, devices: int, memory: int | None, effort: str
) -> Cost | DoesNotFit:
    """The cost at a batch, or why it does not fit ``memory`` bytes."""
    try:
        cost = compile_cost(program.lower(batch), devices, effort)
    except DoesNotFit as error:
        return error
    if memory is None or cost.memory <= memory:
        return cost
    return DoesNotFit(f"it needs {cost.memory / GIB:.2f} GiB of {memory / GIB:.2f} GiB")


def text(plan: Plan) -> str:
    """The plan for people."""
    record, cost, chip = plan.record, plan.cost, plan.topology.chip
    sizes = ", ".join(f"{axis}={size}" for axis, size in plan.mesh.items())
    used = "" if chip is None else f" of {chip.hbm / GIB:.0f} GiB"
    parts = ", ".join(
        f"{name} {binary(size)}" for name, size in record["bytes"].items() if name != "total"
    )
    rows = [
        (
            "program",
            f"{plan.program}, batch {plan.batch} on {record['chips']} chips of {plan.topology.name}",
        ),
        ("mesh", sizes),
        ("memory a chip", f"{binary(cost.memory)}{used} ({parts})"),
        ("FLOPs a chip", scaled(cost.flops, "FLOP")),
        ("accessed a chip", scaled(cost.accessed, "B")),
    ]
    for c in cost.collectives:
        moved = f"{c.count} × , {scaled(c.payload, 'B')} together, {scaled(c.moved, 'B')} through a chip"
        rows.append((c.kind, moved.replace(" × ,", " ×,")))
    if not cost.collectives:
        rows.append(("collectives", "none"))
    if chip is not None:
        least = roofline(cost, chip)
        rates = (
            f"compute {ms(least.compute)}, memory {ms(least.memory)}, network {ms(least.network)}"
        )
        rows.append(("least time", f"{ms(least.seconds)} ({rates})"))
        rows.append(("", f"{plan.batch / least.seconds:,.0f} images/s at most; {ESTIMATE}"))
    if plan.largest_batch is not None:
        rows.append(("largest batch", f"{plan.largest_batch} ({plan.bound})"))
    rows.append(("compiled", f"in {cost.compile_seconds:.0f} s with {plan.effort} effort"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows)


def binary(size: int) -> str:
    """GiB, or MiB of what is small."""
    return f"{size / GIB:.2f} GiB" if size >= GIB / 10 else f"{size * 1024 / GIB:.2f} MiB"


def ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def scaled(number: int | float, unit: str) -> str:
    """With the decimal prefix that leaves at most three digits before the point: ``3.63 TFLOP``."""
    power = min(int(math.log10(number) // 3), 5) if number >= 1 else 0
    return f"{number / 1000**power:.3g} {' kMGTP'[power].strip()}{unit}"
