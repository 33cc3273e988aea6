"""What the chips send each other, read from a compiled program.

With a payload of S bytes a chip among n chips, a ring moves through each chip

    all-reduce  2 S (n − 1) / n        all-gather, all-to-all, reduce-scatter  S (n − 1) / n        permute  S     (1)

where S is the larger of what goes in and what comes out.
"""

import dataclasses
import math
import re

from drf_jax.plan.hlo import Instruction, Module, bytes_of

KINDS = (
    *("all-reduce", "all-gather", "reduce-scatter", "all-to-all"),
    *("ragged-all-to-all", "collective-permute", "collective-broadcast"),
)


@dataclasses.dataclass(frozen=True)
class Collectives:
    """All collectives of one kind: how many run, their payloads S together, and what moves through a chip, (1)."""

    kind: str
    count: int
    payload: int
    moved: int


def collectives(module: Module, devices: int) -> tuple[Collectives, ...]:
    """By kind, in the order of ``KINDS``; kinds that do not occur are left out."""
    found: dict[str, list[tuple[int, int, int]]] = {}
    for i in module.instructions:
        kind, count = kind_of(i), module.counts[i.computation]
        if kind and count:
            payload, n = payload_of(module, i, kind, devices), group_size(i, devices)
            found.setdefault(kind, []).append(
                (count, count * payload, count * moved(kind, payload, n))
            )
    total = {
        kind: [sum(column) for column in zip(*rows, strict=True)] for kind, rows in found.items()
    }
    return tuple(Collectives(kind, *total[kind]) for kind in KINDS if kind in total)


def kind_of(i: Instruction) -> str | None:
    """A collective's kind, or None; one that is started and awaited counts where it is started."""
    kind = i.opcode.removesuffix("-start")
    if kind == "all-reduce" and i.computation.startswith("%all-reduce-scatter"):
        return "reduce-scatter"  # how TPUs spell it: an all-reduce of which each chip keeps a part
    return kind if kind in KINDS else None


def payload_of(module: Module, i: Instruction, kind: str, devices: int) -> int:
    """S of (1): operands tell it, because a started collective's result also holds its operands."""
    gathered = group_size(i, devices) if kind == "all-gather" else 1
    return gathered * sum(map(bytes_of, module.shapes(i)))


def moved(kind: str, payload: int, n: int) -> int:
    """Equation (1)."""
    if kind.startswith("collective"):
        return payload
    return (2 if kind == "all-reduce" else 1) * payload * (n - 1) // n


def group_size(i: Instruction, devices: int) -> int:
    """Chips that take part in one instance, in any of the ways in which HLO writes groups."""
    groups = re.search(r"replica_groups=(.*)", i.attributes)
    text = groups[1] if groups else ""
    if match := re.match(r"mesh\[([^\]]*)\][^{]*\{([^}]*)\}", text):  # mesh['a'=8,'b'=2] {'a'}
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", match[1]))
        parts = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", match[2])  # 'a':(1)4 is a part of an axis
        return math.prod(int(part or sizes[axis]) for axis, part in parts)
    if match := re.match(r"\[(\d+),(\d+)\]<=", text):  # [groups,size]<=[...]
        return int(match[2])
    if match := re.match(r"\{\{([\d,]+)\}", text):  # {{0,1},{2,3}}
        return match[1].count(",") + 1
    return devices
