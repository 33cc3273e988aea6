"""Runs at an address, ``gs://bucket/run``: checkpoints are there, and what is small is in a folder here, too.

Orbax writes checkpoints to the address and reads them from it, each process its own part, so hosts need no file system
that they share. Everything else of a run is read, appended to and memory mapped in a folder of this host
(`here`): it comes from the address when the run is opened, and what is new or changed goes there before every
checkpoint and when the command ends (`copy_back`). So the address has all that belongs to its newest checkpoint, and a
run goes on from it on any host.

A bucket has no locks that the kernel releases. Instead a run that is opened to be trained leaves its name there
(``.lock``), over that of another, if any; who finds another name before a checkpoint stops. So a preempted run's
successor waits for nothing, and of two only the later goes on. (The earlier may still save once, where it looked just
before the later came.)

The folder here has what the address has, and nothing else but what stays on its host. Programs that use the library
without the command line copy back at their exit.
"""

import atexit
import contextlib
import json
import os
import re
import shutil
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import jax
from etils import epath

from drf_jax.atomic import replacing
from drf_jax.cache import cache_folder
from drf_jax.errors import UserError
from drf_jax.lock import hold
from drf_jax.typing import Folder

SCHEME = "gs"
LOCK = ".lock"
CONFIG = "config.json"
"""Of a run."""
THERE = "checkpoints"
"""Folders of this name are at the address only."""
NOT_FETCHED = (THERE, "samples", "profile")
MAPPED = (".npy", ".f32")
"""Files that end so stay on the host that made them, and with them what is noted of them in a file of the same stem:
they are memory mapped, large, and can be made again."""

Version = tuple[int, int]
"""Size and time of change of a file here."""


class Copy:
    """The folder ``local`` as the copy of an address. ``name`` is that of its run here, if it is to be trained."""

    def __init__(self, remote: epath.Path, local: Path, name: str = ""):
        self.remote, self.local, self.name = remote, local, name
        self._same: dict[Path, Version] = {}
        """Files that are as they are at the address."""

    def fetch(self) -> None:
        """What is there replaces what is here; what is of no run that is there goes, too."""
        found = {Path(*file.parts[len(self.remote.parts) :]): file for file in _files(self.remote)}
        is_run = CONFIG in map(str, found)
        for path in self._here():
            relative = path.relative_to(self.local)
            kept = is_run and (relative.parts[0] in NOT_FETCHED or stays(path))
            if relative not in found and not kept:
                path.unlink()
        for relative, file in found.items():
            with replacing(self.local / relative) as target, file.open("rb") as source:
                shutil.copyfileobj(source, target)
        self._same = {path.relative_to(self.local): _version(path) for path in self._here()}

    def _here(self) -> list[Path]:
        paths = sorted(self.local.rglob("*"))
        return [path for path in paths if path.is_file() and path.name[0] != "."]

    def claim(self) -> None:
        """Leave the run's name at the address, and say whose is replaced; then fetch what that one still wrote."""
        if other := self.holder():
            print(
                f"drf: {self.remote} was left by {other}; if that still runs, it stops",
                file=sys.stderr,
            )
        name = {"pid": os.getpid(), "host": socket.gethostname(), "name": self.name}
        self.remote.mkdir(parents=True, exist_ok=True)
        (self.remote / LOCK).write_text(json.dumps(name))
        self.fetch()

    def holder(self) -> str:
        """Who has the address, in words, if it is not this run."""
        try:
            found = json.loads((self.remote / LOCK).read_text())
            other = found["name"] != self.name
            return f"process {found['pid']} on {found['host']}" if other else ""
        except FileNotFoundError:
            return ""
        except (ValueError, KeyError, TypeError):
            return "an unknown process"

    def copy_back(self) -> None:
        """Write to the address what is new or changed here.

        Raises:
          UserError: the run was taken over.
        """
        if self.name and (other := self.holder()):
            raise UserError(
                f"{self.remote} is {other}'s now: this run was taken over, and saves nothing more"
            )
        for path in self._here():
            relative = path.relative_to(self.local)
            if not stays(path) and self._same.get(relative) != (version := _version(path)):
                target = self.remote / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
                self._same[relative] = version

    def release(self) -> None:
        """Take the run's name away."""
        if self.name and not self.holder():
            (self.remote / LOCK).unlink(missing_ok=True)


_open: dict[Path, Copy] = {}
"""The folders here that this process has of addresses."""


def is_address(path: str | os.PathLike) -> bool:
    """Whether a path has a scheme, such as ``gs://``; a ``pathlib.Path`` of one has lost a slash."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", os.fspath(path)) is not None


def here(path: str | os.PathLike, to_train: bool = False) -> Path:
    """The folder on this host of the run at ``path``: itself, unless it is an address.

    One ``to_train`` is another folder than one to read, and each process has its own: what another one writes is not
    replaced.

    Raises:
      UserError: an address of something else than a Google Cloud Storage bucket, or that cannot be read, or another
        process of this host trains the run.
    """
    if not is_address(path):
        return Path(path)
    remote = _remote(os.fspath(path))
    known = [(f, copy) for f, copy in _open.items() if copy.remote == remote]
    for folder, copy in sorted(known, key=lambda one: not one[1].name):  # what is trained first
        if copy.name or not to_train:
            return folder
    local = _folder(quote(os.fspath(remote).partition("://")[2], ""), to_train)
    copy = Copy(remote, local, uuid.uuid4().hex if to_train else "")
    with naming(remote):
        copy.fetch()
    _open[local] = copy
    atexit.register(leave)
    return local


def claim(local: Path) -> None:
    """Make the address of a folder from `here` this run's; does nothing for other folders."""
    if local in _open:
        with naming(_open[local].remote):
            _open[local].claim()


def there(path: Path) -> Folder:
    """Where checkpoints in the folder ``path`` are: at the address that it, or a folder above it, is the copy of."""
    for folder in (path, *path.parents):
        if folder in _open:
            return _open[folder].remote / path.relative_to(folder)
    return path


def shown(path: Path) -> Folder:
    """How to call a folder: by its address, if it is the copy of one."""
    return _open[path].remote if path in _open else path


def copy_back() -> None:
    """Write to their addresses what this process made or changed in its folders of them.

    Raises:
      UserError: it cannot be written, or a run that this process trains was taken over.
    """
    if _open and jax.process_index() == 0:
        for copy in _open.values():
            with naming(copy.remote):
                copy.copy_back()


def leave() -> None:
    """`copy_back`, and let go of every address.

    Raises:
      UserError: as `copy_back`.
    """
    atexit.unregister(leave)
    try:
        copy_back()
        if _open and jax.process_index() == 0:
            for copy in _open.values():
                with naming(copy.remote):
                    copy.release()
    finally:
        _open.clear()


@contextlib.contextmanager
def naming(remote: Folder) -> Iterator[None]:
    """Errors of a storage's client, which has its own, in one line that names the address; not those of a folder here.

    Raises:
      UserError: instead of any other error.
    """
    if isinstance(remote, Path):
        yield
        return
    try:
        yield
    except (UserError, ImportError):
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"cannot read or write {remote}: {reason}") from error


def _remote(path: str) -> epath.Path:
    scheme, _, rest = path.partition(":")
    if scheme != SCHEME:
        raise UserError(
            f"{path}: an address must be of Google Cloud Storage, {SCHEME}://BUCKET/FOLDER; else mount the storage"
            " and give the path where it is mounted (docs/scale.md, Runs in a bucket)"
        )
    try:
        import fsspec.config

        # What a folder has is asked for each time: other hosts write there, too.
        fsspec.config.conf.setdefault("gcs", {}).setdefault("use_listings_cache", False)
        remote = epath.Path(f"{SCHEME}://{rest.strip('/')}")
        with naming(remote):
            remote.exists()
    except ImportError as error:
        raise UserError(f"{path}: {error}; pip install 'drf_jax[gcs]'") from None
    return remote


def _folder(name: str, to_train: bool) -> Path:
    """One for the run of this name that no other process has, and that this one has until it ends."""
    role = "train" if to_train else "read"
    process = f"-{jax.process_index()}" if jax.process_index() else ""
    while True:
        local = (cache_folder() / "runs" / f"{role}{process}" / name).absolute()
        local.mkdir(parents=True, exist_ok=True)
        try:
            hold(local)
            return local
        except UserError:
            if to_train:
                raise
            role += "-more"  # another process reads in that one


def stays(path: Path) -> bool:
    """Whether a file stays on its host (`MAPPED`)."""
    return path.suffix in MAPPED or any(path.with_suffix(suffix).exists() for suffix in MAPPED)


def _files(folder: epath.Path) -> Iterator[epath.Path]:
    """The files at an address that belong here; not those of another run below it."""
    if not folder.exists():
        return
    for path in folder.iterdir():
        if path.name[0] == "." or path.name in NOT_FETCHED or path.suffix in MAPPED:
            continue
        if not path.is_dir():
            yield path
        elif not (path / CONFIG).exists():
            yield from _files(path)


def _version(path: Path) -> Version:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
