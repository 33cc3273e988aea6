"""A run's folder and its address: what comes and goes between them, and who may write."""

import json
import os
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from bucket import bucket

from drf_jax import address
from drf_jax.atomic import replacing
from drf_jax.cli import main
from drf_jax.errors import UserError
from drf_jax.lock import _held
from drf_jax.training.checkpoint import Checkpoints, load_ema
from drf_jax.training.state import TrainState
from drf_jax.training.stored import Damaged, reading
from drf_jax.workdir import claim, read_config

CONFIG = {"task": "teacher", "seed": 0}

pytestmark = [
    pytest.mark.filterwarnings("ignore:Sharding info not provided"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def storage():
    pytest.importorskip("gcsfs")
    with bucket() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture
def host(storage, tmp_path, monkeypatch):
    """``host(name)``: from now on this process is another host, with folders of its own."""
    storage.objects.clear()
    storage.forbidden = False

    def become(name):
        address._open.clear()
        for folder in [folder for folder in _held if tmp_path in folder.parents]:
            os.close(_held.pop(folder))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))

    become("a")
    yield become
    become("gone")


def text(storage, name):
    return storage.objects[name][1].decode()


def test_a_folder_is_itself(tmp_path):
    assert address.here(tmp_path) == tmp_path
    assert address.here(str(tmp_path), to_train=True) == tmp_path
    assert address.there(tmp_path / "checkpoints") == tmp_path / "checkpoints"
    assert address.shown(tmp_path) == tmp_path


@pytest.mark.parametrize("make", [str, Path])
def test_what_one_host_writes_another_goes_on_with(storage, host, make):
    folder = claim(make("gs://bucket/run"), CONFIG)
    (folder / "metrics.jsonl").write_text("one\n")
    (folder / "samples").mkdir()
    (folder / "samples" / "1.png").write_bytes(b"picture")
    np.save(folder / "trajectories.npy", np.zeros(3))
    assert "run/config.json" in storage.objects
    address.copy_back()
    names = ("run/.lock", "run/config.json", "run/metrics.jsonl", "run/samples/1.png")
    assert sorted(storage.objects) == list(names)
    assert json.loads(text(storage, "run/config.json")) == CONFIG
    before = dict(storage.objects)
    (folder / "metrics.jsonl").write_text("one\ntwo\n")
    address.copy_back()
    changed = [name for name in names if storage.objects[name] != before[name]]
    assert changed == ["run/metrics.jsonl"], "what has not changed is not sent again"
    host("b")
    assert read_config(make("gs://bucket/run")) == CONFIG
    other = claim(make("gs://bucket/run"), CONFIG)
    assert other != folder and (other / "metrics.jsonl").read_text() == "one\ntwo\n"
    assert not (other / "samples").exists(), "pictures stay where they are"


def test_the_later_run_goes_on_and_the_earlier_one_stops(storage, host, capsys):
    folder = claim("gs://bucket/run", CONFIG)
    (earlier,) = address._open.values()
    host("b")
    claim("gs://bucket/run", CONFIG)
    assert f"gs://bucket/run was left by process {os.getpid()}" in capsys.readouterr().err
    address.copy_back()
    (folder / "metrics.jsonl").write_text("of the one that was taken over\n")
    with pytest.raises(UserError, match=r"gs://bucket/run is process \d+ on .*'s now"):
        earlier.copy_back()
    assert "run/metrics.jsonl" not in storage.objects
    earlier.release()
    assert "run/.lock" in storage.objects, "it is the other's"
    address.leave()
    assert "run/.lock" not in storage.objects


def test_what_the_earlier_run_wrote_until_it_was_replaced_is_not_lost(storage, host):
    claim("gs://bucket/run", CONFIG)
    host("b")
    folder = address.here("gs://bucket/run", to_train=True)
    storage.put("run/metrics.jsonl", b"written after the later run had looked\n")
    address.claim(folder)
    assert (folder / "metrics.jsonl").read_text() == "written after the later run had looked\n"


def test_a_run_that_is_trained_here_is_not_trained_twice(storage, host, monkeypatch):
    folder = claim("gs://bucket/run", CONFIG)
    (folder / "metrics.jsonl").write_text("more than is at the address\n")
    address._open.clear()
    monkeypatch.setattr("drf_jax.lock._held", {})  # as another process sees it
    with pytest.raises(UserError, match="in use by another run"):
        claim("gs://bucket/run", CONFIG)
    assert (folder / "metrics.jsonl").read_text() == "more than is at the address\n"
    first = address.here("gs://bucket/run")
    address._open.clear()
    monkeypatch.setattr("drf_jax.lock._held", {})
    assert address.here("gs://bucket/run") != first, "who reads it has a folder of his own"


def test_another_experiment_is_refused_by_its_address(storage, host):
    claim("gs://bucket/run", CONFIG)
    address.copy_back()
    storage.put("run/checkpoints/1/commit_success.txt", b"")
    host("b")
    with pytest.raises(UserError, match=r"gs://bucket/run holds another experiment: config.seed"):
        claim("gs://bucket/run", CONFIG | {"seed": 1})
    with pytest.raises(
        UserError, match=r"no run in gs://bucket/none: gs://bucket/none/config.json"
    ):
        read_config("gs://bucket/none")


def state(value):
    params = {"w": jnp.full((4, 3), value, jnp.float32)}
    return TrainState(jnp.int32(value), params, params, {})


def test_checkpoints_are_at_the_address_and_nowhere_else(storage, host):
    folder = claim("gs://bucket/run", CONFIG)
    with Checkpoints(folder / "checkpoints", keep=1, keep_best=1) as checkpoints:
        for step, score in ((1, 0.1), (2, 0.3), (3, 0.2)):
            checkpoints.save(step, state(step), score)
        checkpoints.wait()
        assert checkpoints.latest() == 3 and checkpoints.best() == 1
    there = {name.split("/")[2] for name in storage.objects if name.startswith("run/checkpoints/")}
    assert there == {"1", "3"} and not (folder / "checkpoints").exists()
    host("b")
    folder = claim("gs://bucket/run", CONFIG)
    with Checkpoints(folder / "checkpoints") as checkpoints:
        step, found = checkpoints.resume(state(0))
    assert step == 3 and found.params["w"][0, 0] == 3
    shapes = {"w": state(0).params["w"]}
    assert load_ema(folder / "checkpoints", shapes, "best")["w"][0, 0] == 1
    # One that was being written when its host went is none.
    storage.objects.pop("run/checkpoints/3/commit_success.txt")
    host("c")
    assert load_ema(address.here("gs://bucket/run") / "checkpoints", shapes)["w"][0, 0] == 1


@pytest.mark.slow
def test_a_damaged_checkpoint_at_an_address_is_moved_aside(storage, host, capsys):
    folder = claim("gs://bucket/run", CONFIG)
    with Checkpoints(folder / "checkpoints") as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state(step))
    for name in [name for name in storage.objects if name.startswith("run/checkpoints/2/default")]:
        if "ocdbt" in name:
            storage.put(name, b"")
    with Checkpoints(folder / "checkpoints") as checkpoints:
        step, found = checkpoints.resume(state(0))
    assert step == 1 and found.params["w"][0, 0] == 1
    assert "step 1 is used instead" in capsys.readouterr().err
    assert any(name.startswith("run/checkpoints/2.damaged/") for name in storage.objects)


def test_a_file_at_an_address_is_whole_or_absent(storage, host):
    folder = claim("gs://bucket/run", CONFIG)
    target = address.there(folder) / "score.json"
    with pytest.raises(RuntimeError), replacing(target) as file:
        file.write(b"half")
        raise RuntimeError
    assert "run/score.json" not in storage.objects
    with replacing(target) as file:
        file.write(b"whole")
    assert text(storage, "run/score.json") == "whole"


@pytest.mark.parametrize("make", [str, Path])
@pytest.mark.parametrize("other", ["s3://bucket/run", "memory://run"])
def test_other_addresses_are_refused_before_anything_is_made(tmp_path, monkeypatch, make, other):
    monkeypatch.chdir(tmp_path)
    for use in (read_config, lambda workdir: claim(workdir, CONFIG)):
        with pytest.raises(UserError, match=r"must be of Google Cloud Storage, gs://BUCKET/FOLDER"):
            use(make(other))
    assert not list(tmp_path.iterdir())


def test_what_an_address_needs_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.config", None)
    with pytest.raises(UserError, match=r"pip install 'drf_jax\[gcs\]'"):
        address.here("gs://bucket/run")


def test_a_storage_that_refuses_is_one_line_wherever_it_is_asked(storage, host):
    folder = claim("gs://bucket/run", CONFIG)
    with Checkpoints(folder / "checkpoints") as checkpoints:
        checkpoints.save(1, state(1))
    storage.forbidden = True
    shapes = {"w": state(0).params["w"]}
    for use in (
        address.copy_back,
        lambda: claim("gs://bucket/run", CONFIG),
        lambda: read_config("gs://bucket/other"),
        lambda: Checkpoints(folder / "checkpoints"),
        lambda: load_ema(folder / "checkpoints", shapes),
    ):
        with pytest.raises(UserError, match=r"^cannot read or write gs://bucket/[^\n]*$"):
            use()
    storage.forbidden = False


def test_a_storage_that_fails_once_damages_nothing(storage, host):
    folder = claim("gs://bucket/run", CONFIG)
    said = [OSError("503"), None]

    def read():
        if error := said.pop(0):
            raise error
        return "what is there"

    assert reading(read, address.there(folder)) == "what is there"
    with pytest.raises(Damaged):
        reading(lambda: 1 / 0, address.there(folder))
    said = [OSError("503"), None]
    with pytest.raises(Damaged):
        reading(read, folder)  # a disk that fails does not get better


def test_what_is_of_no_run_that_is_there_is_forgotten(storage, host):
    folder = claim("gs://bucket/run", CONFIG)
    for name in ("teacher.json", "samples/1.png", "trajectories.npy", "trajectories.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("of the first run")
    address.copy_back()
    sent = {name for name in storage.objects if name.startswith("run/")}
    assert sent == {"run/.lock", "run/config.json", "run/samples/1.png", "run/teacher.json"}
    # Without a file that another host has removed, and with what stays here.
    storage.objects.pop("run/teacher.json")
    host("a")
    assert claim("gs://bucket/run", CONFIG) == folder
    here = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    kept = {"config.json", "samples/1.png", "trajectories.npy", "trajectories.json"}
    assert here - {".lock"} == kept
    before = dict(storage.objects)
    address.copy_back()
    assert storage.objects == before, "what came from an earlier run is not sent again"
    # The whole run was deleted there.
    storage.objects.clear()
    host("a")
    claim("gs://bucket/run", CONFIG | {"seed": 1})
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {".lock", "config.json"}


def test_a_run_below_another_is_not_a_part_of_it(storage, host):
    claim("gs://bucket/teacher", CONFIG)
    student = claim("gs://bucket/teacher/student", CONFIG)
    (student / "metrics.jsonl").write_text("the student's")
    address.leave()
    host("b")
    teacher = address.here("gs://bucket/teacher")
    assert {path.name for path in teacher.rglob("*") if path.is_file()} == {".lock", "config.json"}
    assert read_config("gs://bucket/teacher/student") == CONFIG


def test_checkpoints_that_were_copied_there_are_read(storage, host, tmp_path):
    with Checkpoints(tmp_path / "local") as checkpoints:
        checkpoints.save(1, state(1))
    for path in (tmp_path / "local").rglob("*"):
        if path.is_file():
            name = f"run/checkpoints/{path.relative_to(tmp_path / 'local')}"
            storage.put(name, path.read_bytes())
    assert any(name.endswith("/checksums.json") for name in storage.objects)
    storage.put("run/config.json", json.dumps(CONFIG).encode())
    folder = claim("gs://bucket/run", CONFIG)
    with Checkpoints(folder / "checkpoints") as checkpoints:
        step, found = checkpoints.resume(state(0))
    assert step == 1 and found.params["w"][0, 0] == 1


def test_nothing_asks_for_a_device_where_there_is_no_address(monkeypatch):
    monkeypatch.setattr("jax.process_index", lambda: pytest.fail("a device was asked for"))
    address.copy_back()
    address.leave()


@pytest.mark.parametrize("error", [RuntimeError("the first"), SystemExit(143)])
def test_what_went_wrong_first_is_told(monkeypatch, error):
    def act(*_):
        raise error

    def leave():
        raise UserError("cannot read or write gs://bucket/run")

    monkeypatch.setitem(main.COMMANDS, "models", (main.COMMANDS["models"][0], act))
    monkeypatch.setattr(address, "leave", leave)
    with pytest.raises(type(error), match=str(error)):
        main.main(["models"])


def test_a_command_that_cannot_copy_back_has_failed(monkeypatch, capsys):
    def leave():
        raise UserError("cannot read or write gs://bucket/run: no permission")

    monkeypatch.setattr(address, "leave", leave)
    assert main.main(["models"]) == 2
    assert "drf: cannot read or write gs://bucket/run: no permission" in capsys.readouterr().err


def test_what_is_written_elsewhere_is_not_written_to_an_address(capsys):
    argv = ["demo", "--out", "gs://bucket/demo"]
    assert main.main(argv) == 2
    assert "--out gs://bucket/demo: must be a path of a file system" in capsys.readouterr().err
