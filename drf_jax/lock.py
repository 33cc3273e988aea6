"""One writer a folder: an advisory lock that the kernel releases when its process ends, however it ends.

The lock is ``flock`` on ``FOLDER/.lock``; the file says who holds it and stays when nobody does. ``kill -9``, a crash
or a power cut leave nothing to clean up. It works between the processes of one host, and between hosts where the file
system passes ``flock`` on (NFS 4, most cluster file systems).
"""

import errno
import fcntl
import json
import os
import socket
from pathlib import Path

from drf_jax.errors import UserError

NAME = ".lock"
_held: dict[Path, int] = {}  # folder -> descriptor; a process keeps what it has


def hold(folder: str | os.PathLike) -> None:
    """Keep other processes from holding ``folder``, which exists, until this one ends.

    Raises:
      UserError: another process holds it; the message says which.
    """
    folder = Path(folder).resolve()
    if folder in _held:
        return
    descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(
            descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0
        )
    except OSError as error:
        holder = os.pread(descriptor, 4096, 0).decode(errors="replace")
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise UserError(
                f"{folder} is in use by another run ({_name(holder)}); wait for it, stop it, or use another --workdir"
            ) from None
        raise
    _held[folder] = descriptor


def _name(holder):
    try:
        found = json.loads(holder)
        return f"process {found['pid']} on {found['host']}"
    except (ValueError, KeyError, TypeError):
        return "process unknown"
