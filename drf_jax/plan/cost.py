"""What one compiled program costs a chip."""

import dataclasses
import time

import jax

from drf_jax.plan.collectives import Collectives, collectives
from drf_jax.plan.flops import loop_factor
from drf_jax.plan.hlo import parse

LOW = (
    {"exec_time_optimization_effort": -1.0}
    if hasattr(jax.config, "jax_exec_time_optimization_effort")
    else {"optimization_level": "O1"}  # its name from JAX 0.11 on
)
EFFORTS: dict[str, dict | None] = {"low": LOW, "full": None}
"""Options of the compiler: how hard it optimises. Low compiles several times faster and needs rather more memory."""


class DoesNotFit(Exception):
    """The program needs more memory than a chip has; the message says how much."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one call, a chip. Bytes unless said.

    Attributes:
      arguments: parameters, optimizer state, batch.
      temporaries: the most that lives at once besides arguments and results.
      outputs: results that do not take an argument's place.
      code: the program itself.
      flops: as XLA counts them, loops in full.
      accessed: read and written by all operations, fast on-chip memory included.
      collectives: by kind.
      compile_seconds: on this machine.
    """

    arguments: int
    temporaries: int
    outputs: int
    code: int
    flops: float
    accessed: float
    collectives: tuple[Collectives, ...]
    compile_seconds: float

    @property
    def memory(self) -> int:
        """Bytes that must be there at once."""
        return self.arguments + self.temporaries + self.outputs + self.code


def compile_cost(lowered: jax.stages.Lowered, devices: int, effort: str) -> Cost:
    """Compile, and read the cost off the result.

    Raises:
      DoesNotFit: so says the compiler.
    """
    start = time.perf_counter()
    try:
        compiled = lowered.compile(compiler_options=EFFORTS[effort])
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise DoesNotFit(str(error).splitlines()[0].removeprefix("RESOURCE_EXHAUSTED: ")) from None
    seconds = time.perf_counter() - start
    memory, counted, module = (
        compiled.memory_analysis(),
        compiled.cost_analysis(),
        parse(compiled.as_text()),
    )
    factor = loop_factor(module)
    return Cost(
        arguments=memory.argument_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        outputs=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        flops=counted["flops"] * factor,
        accessed=counted["bytes accessed"] * factor,
        collectives=collectives(module, devices),
        compile_seconds=seconds,
    )
