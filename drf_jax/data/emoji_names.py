"""Names of emoji: code points in one spelling, with caption, group and the emoji without skin tone.

Captions come from the table of OpenMoji, which has the CLDR short names and keywords:

    caption = "short name; keyword, keyword, ..."

An emoji with a skin tone has no keywords of its own and gets those of the emoji without.
"""

import json
from dataclasses import dataclass
from typing import Any

from drf_jax.errors import UserError

VARIATION_SELECTOR = 0xFE0F


@dataclass(frozen=True)
class Emoji:
    """One emoji, whoever draws it.

    Attributes:
      code: its code points, as ``canonical`` spells them.
      base: the code of the emoji without skin tone; its own if it has none.
      caption: what it shows.
      group: Unicode's group ("food-drink"), or OpenMoji's for its extras.
    """

    code: str
    base: str
    caption: str
    group: str


def canonical(code: str) -> str:
    """Code points in lower-case hexadecimal, joined by ``-``, without variation selectors.

    The four packages write the same emoji as ``0023-FE0F-20E3``, ``0023-fe0f-20e3`` and ``23-20e3``.
    """
    points = [int(point, 16) for point in code.replace("_", "-").split("-")]
    return "-".join(f"{point:x}" for point in points if point != VARIATION_SELECTOR)


def read_names(table: bytes, file: str) -> dict[str, Emoji]:
    """OpenMoji's ``openmoji.json`` as emoji by their code.

    Raises:
      UserError: the table lacks what is needed; the message begins with ``file``.
    """
    try:
        rows = {canonical(row["hexcode"]): row for row in json.loads(table)}
        return {code: _emoji(code, row, rows) for code, row in rows.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: not OpenMoji's table of emoji ({error!r})") from error


def _emoji(code: str, row: dict[str, Any], rows: dict[str, dict[str, Any]]) -> Emoji:
    base = canonical(row["skintone_base_hexcode"] or row["hexcode"])
    keywords = next(
        (r[key] for r in (row, rows[base]) for key in ("tags", "openmoji_tags") if r[key]), ""
    )
    caption = "; ".join(part for part in (row["annotation"], keywords) if part)
    return Emoji(code, base, caption, row["group"])
