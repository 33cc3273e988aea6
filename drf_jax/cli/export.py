"""``drf export``: a run's sampler as one file that needs neither this library nor Flax."""

from collections.abc import Sequence

from absl import flags

from drf_jax.cli.config_file import define_config
from drf_jax.errors import UserError


def define_export(f: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    flags.DEFINE_string("workdir", "", "folder of the run", flag_values=f)
    flags.DEFINE_string("out", "", "file to write, .npz; a .json comes beside it", flag_values=f)
    flags.DEFINE_integer("batch", 1, "images of one call", lower_bound=1, flag_values=f)
    flags.DEFINE_list("platforms", "cpu,cuda,tpu", "where it is to run", flag_values=f)
    flags.DEFINE_string(
        "method", "", "of config.evaluate.methods; else the run's own sampler", flag_values=f
    )
    return define_config(f, argv)


def export(f: flags.FlagValues, command: str) -> None:
    from drf_jax.runs.export import export_run

    if not f.out:
        raise UserError("--out is missing: the file to write")
    card = export_run(f.config, f.workdir, f.out, f.batch, f.platforms, f.method)
    print(f.out)
    print(
        f"{card['method']}: {card['sequential_calls']} sequential calls, {card['parameters']:,} parameters, "
        f"{card['program_bytes']:,} bytes of program, for {', '.join(card['platforms'])}"
    )
