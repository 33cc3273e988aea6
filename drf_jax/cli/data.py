"""``drf data prepare NAME --data_dir DIR``: makes a data set that ``config.data`` can name; ``embed``: its captions."""

from collections.abc import Sequence

from absl import flags

from drf_jax.data.captions import write_captions
from drf_jax.data.card import Card, read_card
from drf_jax.data.prepare import RECIPES, prepare
from drf_jax.data.prepared import newest
from drf_jax.errors import UserError
from drf_jax.text.minilm import load_minilm

OWN = ("name", "data_dir", "title")


def define_prepare(f: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    flags.DEFINE_string("options", "", "of the data set, as k=v,k=v", flag_values=f)
    return define_named(f, argv)


def define_named(f: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    """Flags of the command; the word after it is the flag ``name``."""
    flags.DEFINE_string("name", "", "which data set", flag_values=f)
    flags.DEFINE_string("data_dir", "", "folder of all prepared data sets", flag_values=f)
    flags.DEFINE_string("title", "", "tells apart variants of one data set", flag_values=f)
    command, *rest = argv
    if rest and not rest[0].startswith("-"):
        rest[0] = f"--name={rest[0]}"
    return [command, *rest]


def prepare_data(f: flags.FlagValues, command: str) -> None:
    check_named(f)
    folder = prepare(f.name, f.data_dir, f.title, **parse_options(f.options))
    print(folder)
    print(summary(read_card(folder)))


def embed_data(f: flags.FlagValues, command: str) -> None:
    check_named(f)
    folder = newest(f.name, f.data_dir, f.title)
    encoder = load_minilm()
    print(write_captions(folder, encoder.embed, encoder.provenance))


def check_named(f: flags.FlagValues) -> None:
    if not f.name:
        raise UserError(f"which data set? give one of {', '.join(sorted(RECIPES))}")
    if not f.data_dir:
        raise UserError("--data_dir is missing: the folder of all prepared data sets")


def parse_options(text: str) -> dict[str, str]:
    """``"a=1,b=x"`` to a dictionary of texts.

    Raises:
      UserError: a part has no "=", or a name comes twice or is a flag of the command.
    """
    options: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise UserError(f"--options {part!r}: must be name=value, with commas between them")
        if name in OWN:
            raise UserError(f"--options {part!r}: {name} is a flag, --{name}")
        if name in options:
            raise UserError(f"--options {part!r}: {name} is given twice")
        options[name] = value
    return options


def summary(card: Card) -> str:
    """Counts of the splits, of the parts, and of what was left out; a line each."""
    shape = "×".join(map(str, card.image_shape))
    splits = ", ".join(f"{n:,} {split}" for split, n in card.splits.items())
    lines = [f"{card.family}: {shape}; {splits}"]
    lines += [f"  {n:,} {part}" for part, n in card.counts.items()]
    lines += [f"  left out: {n:,} {why}" for why, n in card.left_out.items()]
    return "\n".join(lines)
