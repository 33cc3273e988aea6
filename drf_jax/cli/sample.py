"""``drf sample``: a contact sheet of a run's samples, or of a packed model's."""

import re
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from drf_jax.address import here
from drf_jax.cli.run_of import checkpoint_of, define_checkpoint, define_run
from drf_jax.errors import UserError


def define_sample(f: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    flags.DEFINE_string(
        "out", "", "picture to write; in the run's folder unless given", flag_values=f
    )
    flags.DEFINE_integer("count", 64, "samples to draw", lower_bound=1, flag_values=f)
    flags.DEFINE_string("prompt", None, "what to draw; else as the data's captions", flag_values=f)
    flags.DEFINE_string("style", None, "class to draw; else as the data's labels", flag_values=f)
    flags.DEFINE_float("guidance", None, "weight; else the run's own", lower_bound=0, flag_values=f)
    if any(re.match(r"--?model\b", word) for word in argv):
        flags.DEFINE_string("model", "", "name of a packed model, or its folder", flag_values=f)
        flags.DEFINE_string("method", "", "one of its samplers; else its first", flag_values=f)
        return list(argv)
    define_checkpoint(f)
    return define_run(f, argv)


def sample(f: flags.FlagValues, command: str) -> None:
    from drf_jax.runs.sample import sample
    from drf_jax.zoo.sample import sample_model

    path = Path(f.out) if f.out else None
    if path and path.suffix.lower() != ".png":
        raise UserError(f"--out {path}: the picture is a PNG, its name must end in .png")
    asked = {"prompt": f.prompt, "style": f.style, "guidance": f.guidance}
    if "model" in f:
        print(sample_model(f.model, path, f.count, f.method, **asked))
        return
    path = path or here(f.workdir) / "samples" / "grid.png"
    sample(f.config, f.workdir, path, f.count, which=checkpoint_of(f), **asked)
    print(path)
