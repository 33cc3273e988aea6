"""A list of a folder's files with their sizes and CRC-32, written into the folder: is it still as it was written?

A file that was cut off, changed or removed is noticed without reading it as what it is. Files that came later
are none of the list's business.
"""

import json
import zlib
from pathlib import Path

from drf_jax.atomic import replacing
from drf_jax.typing import Folder

NAME = "checksums.json"
LATER = ("_CHECKPOINT_METADATA", NAME)
"""Written after the list: this holds when Orbax committed the checkpoint, nothing that is restored."""
CHUNK = 1 << 24


def write_checksums(folder: Path) -> None:
    """List what is in ``folder`` now, in ``folder/checksums.json``."""
    found = {
        str(path.relative_to(folder)): [path.stat().st_size, crc32(path)]
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in LATER
    }
    with replacing(folder / NAME) as file:
        file.write(json.dumps(found).encode())


def is_whole(folder: Folder) -> bool:
    """Whether every listed file is there as it was written; True for a folder without a list, or at an address."""
    if not isinstance(folder, Path) or not (folder / NAME).exists():
        return True
    try:
        listed = json.loads((folder / NAME).read_text())
        paths = {folder / name: (size, crc) for name, (size, crc) in listed.items()}
        return all(path.stat().st_size == size for path, (size, _) in paths.items()) and all(
            crc32(path) == crc for path, (_, crc) in paths.items()
        )
    except (OSError, ValueError, TypeError):
        return False


def crc32(path: Path) -> int:
    """CRC-32 of a file's bytes."""
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            value = zlib.crc32(chunk, value)
    return value
