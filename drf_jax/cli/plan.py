"""``drf plan``: a run's program compiled for chips that are not here."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from drf_jax import build
from drf_jax.cli.config_file import define_config, load_config
from drf_jax.config import choose
from drf_jax.errors import UserError
from drf_jax.workdir import read_config


def define_plan(f: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    from drf_jax.plan.cost import EFFORTS

    whole = {"lower_bound": 1, "flag_values": f}
    flags.DEFINE_string("topology", "", "chips, such as v5e:16x16, or cpu:8", flag_values=f)
    flags.DEFINE_list(
        "mesh", [], "such as data=64,draft=1,model=4; else config.mesh", flag_values=f
    )
    flags.DEFINE_string("program", "train", "train, on_policy or sample", flag_values=f)
    flags.DEFINE_string("method", "", "of config.evaluate.methods, to sample with", flag_values=f)
    flags.DEFINE_integer("batch", None, "global batch; else the config's", **whole)
    flags.DEFINE_string("teacher", "", "config FILE[:arg] of a student's teacher", flag_values=f)
    flags.DEFINE_list(
        "image", [], "height,width,channels, where the data are not here", flag_values=f
    )
    flags.DEFINE_integer("classes", None, "with --image", lower_bound=0, flag_values=f)
    flags.DEFINE_float("memory", None, "GiB of a chip; else its own", lower_bound=0, flag_values=f)
    flags.DEFINE_enum("effort", "low", list(EFFORTS), "of the compiler", flag_values=f)
    flags.DEFINE_bool("search", True, "search the largest batch that fits", flag_values=f)
    flags.DEFINE_integer("compiles", 8, "of the search at most", **whole)
    flags.DEFINE_bool("json", False, "print JSON", flag_values=f)
    return define_config(f, argv)


def plan(f: flags.FlagValues, command: str) -> None:
    from drf_jax.plan.chips import GIB
    from drf_jax.plan.data import planned_data
    from drf_jax.plan.plan import make_plan, text
    from drf_jax.plan.programs import programs
    from drf_jax.plan.topology import describe
    from drf_jax.sharding import make_mesh

    if not f.topology:
        raise UserError("--topology is missing: the chips, such as v5e:16x16")
    topology = describe(f.topology)
    mesh = make_mesh(**mesh_sizes(f.config["mesh"], f.mesh), devices=topology.devices)
    teacher = teacher_config(f.config, f.teacher)
    data = planned_data(teacher, tuple(whole(n, "--image") for n in f.image), f.classes)
    made = programs(f.config, data, mesh, teacher, f.method)
    program = choose(made, f.program, "--program")()
    memory = int(f.memory * GIB) if f.memory else topology.chip and topology.chip.hbm
    compiles = f.compiles if f.search else 0
    batch = f.batch or program.batch
    result = make_plan(program, topology, dict(mesh.shape), batch, memory, f.effort, compiles)
    print(json.dumps(result.record, indent=1) if f.json else text(result))


def mesh_sizes(section: Mapping[str, Any], given: Sequence[str]) -> dict[str, int]:
    """Sizes of the mesh's axes: the config's, with ``data`` for the rest, unless a flag says otherwise."""
    sizes = {"data": -1, "draft": section.get("draft", 1), "model": section.get("model", 1)}
    for word in given:
        axis, _, size = word.partition("=")
        if axis not in sizes:
            raise UserError(f"--mesh {word}: must be AXIS=SIZE with an axis of {', '.join(sizes)}")
        sizes[axis] = whole(size, "--mesh")
    return sizes


def whole(word: str, flag: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise UserError(f"{flag}: {word!r} must be a whole number") from None


def teacher_config(config: Mapping[str, Any], spec: str) -> Mapping[str, Any]:
    """The config of the teacher: a teacher's own, else that of ``--teacher``, else that of its run."""
    if build.task(config) == "teacher":
        return config
    found = load_config(spec) if spec else read_config(config["teacher"])
    build.check_task(found, "teacher", spec or config["teacher"])
    return found
