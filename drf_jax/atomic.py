"""Files that are either whole or absent: write beside the target, then rename."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from etils import epath


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """Open a binary file that takes the place of ``path`` when the block ends without an error.

    Missing folders are made. After an error the old file, if any, is still there unchanged. A file at an address
    (`drf_jax.address`) appears when all of it has been sent.
    """
    if isinstance(path, epath.Path):
        yield (buffer := io.BytesIO())
        path.write_bytes(buffer.getvalue())
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
