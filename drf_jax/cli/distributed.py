"""``--distributed`` and what goes with it."""

from absl import flags

from drf_jax.distributed import TIMEOUT, connect


def define_distributed(f: flags.FlagValues) -> None:
    """The flags of a command that may run as several processes."""
    flags.DEFINE_bool(
        "distributed", False, "this is one of several processes of one run", flag_values=f
    )
    flags.DEFINE_string("coordinator", None, "host:port of process 0", flag_values=f)
    flags.DEFINE_integer("processes", None, "how many processes", lower_bound=1, flag_values=f)
    flags.DEFINE_integer("process", None, "which one this is, from 0", lower_bound=0, flag_values=f)
    flags.DEFINE_integer(
        "timeout", TIMEOUT, "seconds to wait for the others", lower_bound=1, flag_values=f
    )


def connect_if_asked(f: flags.FlagValues) -> None:
    """Join the other processes where the command has the flag and it is given."""
    if "distributed" in f and f.distributed:
        connect(f.coordinator, f.processes, f.process, f.timeout)
