"""Whether the trainings of a table took the seconds that it gives them.

A probe plans as many updates as fit (`drf_jax.runs.budget`). On a host that does other things, too, the probe or the
training may be slowed, and a student gets fewer updates than the others, or more.
"""

import shutil

from rival_table import Table, source_of

from drf_jax.errors import UserError

TIMING = "timing"
"""What ``--only`` and ``--again`` call the time of one sample of all rows."""
TOLERANCE = 0.25
"""Of the seconds; beyond it a row is no comparison."""


def uneven(made: Table) -> dict[str, float]:
    """The students whose trainings took other seconds than asked, and what they took.

    Trainings of so many updates, as ``--updates`` has them, and smoke runs were not to take any.
    """
    o, found = made.options, {}
    for name, budget in made.facts["budget"].items():
        own = made.rows_of(name)
        if o.smoke or "seconds" not in budget or not own:
            continue
        took = max(r.get("train_seconds", 0.0) for r in own)
        if abs(took / o.seconds - 1) > TOLERANCE:
            found[name] = took
    return found


def check_publishable(made: Table) -> None:
    """Raise `UserError` for a table that must not be published: it is empty, or not of equal seconds."""
    if not made.rows:
        raise UserError(f"{made.path}: no rows to publish")
    if found := uneven(made):
        names = ", ".join(f"{name} took {took:.0f} s" for name, took in found.items())
        raise UserError(
            f"{made.path}: not equal seconds: {names}, not {made.options.seconds:g};"
            f" make them on a quiet machine with --again={','.join(found)}"
        )


def forget(made: Table, names: tuple[str, ...]) -> None:
    """Take these students out of the table, their trainings included, so that they are made again.

    Raises:
      UserError: there is no such student in the table.
    """
    known = {*made.facts["made"], *made.facts["budget"], *made.facts["failed"]} - {"teacher"}
    known |= {TIMING}
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"--again={unknown[0]}: {made.path} has {', '.join(sorted(known))}")
    for name in names:
        if name == TIMING:
            made.facts["timed"].clear()
        for each in (name, source_of(name)):
            shutil.rmtree(made.options.runs / each, ignore_errors=True)
            (made.options.runs / "evaluation" / f"{each}.json").unlink(missing_ok=True)
            for kind in ("made", "budget", "timed", "failed"):
                made.facts[kind].pop(each, None)
        gone = made.rows_of(name)
        made.rows = {key: r for key, r in made.rows.items() if r not in gone}
    if names:
        made.save()
