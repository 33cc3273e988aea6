"""What is published of a table of rivals: enough, with the packed teacher, to go on from on another machine.

FOLDER/rivals_DATA.json   the table
FOLDER/rivals_DATA.npz    the samples of its rows that pictures show, of seed 0
"""

import os
import shutil
from pathlib import Path

from rival_options import Options
from rival_seconds import check_publishable
from rival_table import Table, pictures_of

from drf_jax.atomic import replacing
from drf_jax.errors import UserError


def copy(source: Path, target: Path) -> None:
    """A file that is there as a whole or not at all."""
    with replacing(target) as file, source.open("rb") as stored:
        shutil.copyfileobj(stored, file)


def publish(made: Table, folder: str | os.PathLike) -> None:
    """Write the table and its samples as they are.

    Raises:
      UserError: the table is empty, or its trainings did not take the seconds that it says.
    """
    check_publishable(made)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if made.options.seed == 0:
        copy(pictures_of(made.options), folder / f"{made.path.stem}.npz")
    copy(made.path, folder / made.path.name)


def begin(o: Options, folder: str | os.PathLike) -> None:
    """Put what is published where this table is made, if nothing is there.

    Raises:
      UserError: nothing is published.
    """
    table, target = Path(folder) / o.file, o.out / o.file
    if target.exists():
        return
    if not table.exists():
        raise UserError(f"--published: {table} does not exist; leave the flag out to begin anew")
    o.out.mkdir(parents=True, exist_ok=True)
    samples = table.with_suffix(".npz")
    if samples.exists() and not pictures_of(o).exists():
        copy(samples, pictures_of(o))
    copy(table, target)
