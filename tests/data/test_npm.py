import hashlib
import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from drf_jax.data import npm
from drf_jax.data.npm import Package, fetch, members
from drf_jax.errors import UserError


def archive(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()


DATA = archive({"package/img/a.png": b"A", "package/img/b.txt": b"B", "other/img/c.png": b"C"})
PACKAGE = Package("@scope/pictures", "1.2.3", hashlib.sha256(DATA).hexdigest())


class FakeNpm:
    """``npm pack`` that writes ``data``, or fails with ``stderr``."""

    def __init__(self, monkeypatch, data, stderr=""):
        self.data, self.stderr, self.commands = data, stderr, []
        monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
        monkeypatch.setattr(npm.subprocess, "run", self.run)

    def run(self, command, **options):
        self.commands.append(command)
        if self.data is not None:
            Path(command[-1], PACKAGE.archive).write_bytes(self.data)
        return subprocess.CompletedProcess(command, self.data is None, "", self.stderr)


def test_a_package_is_packed_once(tmp_path, monkeypatch):
    fake = FakeNpm(monkeypatch, DATA)
    path = fetch(PACKAGE, tmp_path / "cache")
    assert path == tmp_path / "cache" / "scope-pictures-1.2.3.tgz" == fetch(PACKAGE, path.parent)
    assert path.read_bytes() == DATA and list(path.parent.iterdir()) == [path]
    assert len(fake.commands) == 1 and fake.commands[0][1:3] == ["pack", "@scope/pictures@1.2.3"]


def test_what_a_killed_preparation_left_is_removed(tmp_path, monkeypatch):
    left = tmp_path / f".partial-{PACKAGE.archive}"
    left.mkdir()
    (left / PACKAGE.archive).write_bytes(DATA[:9])
    fake = FakeNpm(monkeypatch, DATA)
    path = fetch(PACKAGE, tmp_path)
    assert Path(fake.commands[0][-1]) == left
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == DATA


def test_another_archive_is_refused(tmp_path, monkeypatch):
    FakeNpm(monkeypatch, DATA + b"\0")
    with pytest.raises(UserError, match=r"scope-pictures-1.2.3.tgz: SHA-256 .* is not"):
        fetch(PACKAGE, tmp_path)


def test_a_failure_of_npm_is_told(tmp_path, monkeypatch):
    FakeNpm(monkeypatch, None, "npm error code\nnpm error no network\n")
    with pytest.raises(UserError, match=r"@scope/pictures@1.2.3 failed: npm error no network"):
        fetch(PACKAGE, tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"npm is needed to fetch @scope/pictures@1.2.3"):
        fetch(PACKAGE, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_members_match_as_a_whole(tmp_path):
    (tmp_path / "a.tgz").write_bytes(DATA)
    assert members(tmp_path / "a.tgz", r"package/img/.*\.png") == {"package/img/a.png": b"A"}


def test_a_damaged_archive_is_named(tmp_path):
    (tmp_path / "a.tgz").write_bytes(DATA[:40])
    with pytest.raises(UserError, match=r"a.tgz: not a whole npm package"):
        members(tmp_path / "a.tgz", ".*")
