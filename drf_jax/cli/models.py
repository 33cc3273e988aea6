"""``drf pack``, ``drf unpack`` and ``drf models``: runs as small files that are sampled anywhere."""

from collections.abc import Sequence

from absl import flags

from drf_jax.errors import UserError


def define_pack(f: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    flags.DEFINE_string("workdir", "", "folder of the run", flag_values=f)
    flags.DEFINE_string("out", "", "folder to write", flag_values=f)
    flags.DEFINE_string("title", "", "name of the model; else the folder's", flag_values=f)
    return list(argv)


def pack(f: flags.FlagValues, command: str) -> None:
    from drf_jax.zoo.pack import pack

    if not f.out:
        raise UserError("--out is missing: the folder to write")
    pack(f.workdir, f.out, f.title)
    print(f.out)


def define_unpack(f: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    flags.DEFINE_string("model", "", "name of a packed model, or its folder", flag_values=f)
    flags.DEFINE_string("workdir", "", "folder of the run to make", flag_values=f)
    flags.DEFINE_string("data_dir", "", "where its data are prepared; ~/data", flag_values=f)
    flags.DEFINE_string("student", "", "folder of its student's run to make, too", flag_values=f)
    return list(argv)


def unpack(f: flags.FlagValues, command: str) -> None:
    from drf_jax.zoo.unpack import unpack

    if not f.workdir:
        raise UserError("--workdir is missing: the folder of the run to make")
    unpack(f.model, f.workdir, f.data_dir, f.student)
    print(f.workdir)


def define_models(f: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    return list(argv)


def models(f: flags.FlagValues, command: str) -> None:
    from drf_jax.zoo.model import read_facts, shipped

    for name in shipped():
        folder, facts = read_facts(name)
        h, w, c = facts["data"]["image_shape"]
        student = facts["student"]
        method = student["config"]["method"]["name"] if student else "teacher"
        print(
            f"{name:<20} {h}x{w}x{c} of {facts['data']['name']}, {method}: {folder / 'README.md'}"
        )
