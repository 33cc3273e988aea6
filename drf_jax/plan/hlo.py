"""A compiled program's text (HLO) as instructions, with how often each one runs.

XLA's own cost analysis counts the body of a loop once. Here an instruction's count is that of its computation:

    count(entry) = 1,    count(c) = Σ over the instructions i that call c of count(i's computation) × trips(i)    (1)

with trips = 1 except for loops of known length. A loop whose length depends on data counts once.
"""

import dataclasses
import math
import re

BITS = {"pred": 8, "bf16": 16, "c64": 64, "c128": 128}
ARRAY = re.compile(r"\b([a-z]+\d*[a-z\d]*)\[([\d,]*)\]")
CALLED = re.compile(r"\b(calls|to_apply|body|condition|branch_computations|called_computations)=")
NAME = re.compile(r"%[\w.\-]+")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line: ``%name = shape opcode(arguments), attributes``, in the computation of that name."""

    name: str
    shape: str
    opcode: str
    arguments: str
    attributes: str
    computation: str

    @property
    def operands(self) -> list[str]:
        """Names of the instructions whose results it takes."""
        return NAME.findall(self.arguments)


@dataclasses.dataclass(frozen=True)
class Module:
    """The instructions of all computations, each after those that it calls, and how often a computation runs."""

    instructions: tuple[Instruction, ...]
    counts: dict[str, int]

    def shapes(self, of: Instruction) -> list[str]:
        """The shapes of an instruction's operands."""
        return [self._shapes[of.computation, name] for name in of.operands]

    def __post_init__(self):
        shapes = {(i.computation, i.name): i.shape for i in self.instructions}
        object.__setattr__(self, "_shapes", shapes)


def arrays(shape: str) -> list[tuple[str, tuple[int, ...]]]:
    """The arrays of a shape, a tuple's in order: (type, sizes)."""
    return [
        (kind, tuple(int(n) for n in sizes.split(",") if n)) for kind, sizes in ARRAY.findall(shape)
    ]


def bytes_of(shape: str) -> int:
    """Bytes of an array, or of all arrays of a tuple, without padding."""
    bits = lambda kind: BITS.get(kind) or int(re.search(r"\d+", kind)[0])
    return sum(math.prod(sizes) * bits(kind) // 8 for kind, sizes in arrays(shape))


def parse(text: str) -> Module:
    """The module of ``compiled.as_text()``."""
    instructions, computation, entry = [], "", ""
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith((" ", "HloModule")):
            computation = NAME.search(line)[0]
            entry = computation if line.startswith("ENTRY") else entry
        elif match := re.match(r"\s+(?:ROOT )?(%[\w.\-]+) = ", line):
            instructions.append(instruction(match[1], line[match.end() :], computation))
    return Module(tuple(instructions), counts(instructions, entry))


def instruction(name: str, rest: str, computation: str) -> Instruction:
    """``shape opcode(arguments), attributes``; only a tuple's shape has spaces, inside parentheses."""
    end = closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    shape, rest = rest[:end], rest[end:].lstrip()
    opening = rest.index("(")
    close = closing(rest, opening)
    arguments, attributes = rest[opening + 1 : close], rest[close + 1 :]
    return Instruction(name, shape, rest[:opening], arguments, attributes, computation)


def closing(text: str, opening: int) -> int:
    """Where the parenthesis at ``opening`` is closed."""
    depth = 0
    for match in re.compile(r"[()]").finditer(text, opening):
        depth += 1 if match[0] == "(" else -1
        if depth == 0:
            return match.start()
    raise ValueError(f"not closed: {text[opening : opening + 80]}")


def callees(i: Instruction) -> list[str]:
    """The computations that an instruction calls."""
    found = []
    for match in CALLED.finditer(i.attributes):
        rest = i.attributes[match.end() :]
        inside = rest[1 : rest.index("}")] if rest.startswith("{") else rest.split(",")[0]
        found += NAME.findall(inside)
    return found


def counts(instructions: list[Instruction], entry: str) -> dict[str, int]:
    """Equation (1); a computation's text stands before those of its callers."""
    inside: dict[str, list[Instruction]] = {}
    for i in instructions:
        inside.setdefault(i.computation, []).append(i)
    count = dict.fromkeys(inside, 0)
    count[entry] = 1
    for computation in reversed(inside):
        for i in inside[computation]:
            called = callees(i)
            times = trips(i, inside) if i.opcode == "while" else 1
            for name in called:
                if name in count:
                    count[name] += count[computation] * times
    return count


def trips(loop: Instruction, inside: dict[str, list[Instruction]]) -> int:
    """The length of a loop: as the compiler notes it, or from the condition ``i < constant``; else 1."""
    if match := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes):
        return int(match[1])
    condition = inside[re.search(r"condition=(%[\w.\-]+)", loop.attributes)[1]]
    limits = [i for i in condition if i.opcode == "constant" and i.shape.startswith("s32[]")]
    below = any("direction=LT" in i.attributes for i in condition)
    return int(limits[0].arguments) if below and len(limits) == 1 else 1
