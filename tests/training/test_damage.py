"""Whatever is done to the newest checkpoint: it is named, skipped for the one before, and never deleted."""

import shutil

import jax
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.training.checkpoint import Checkpoints, abstract, load_ema
from drf_jax.training.stored import Damaged

# Orbax leaves an event loop behind when a read fails.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def cut_arrays(folder):
    for file in folder.rglob("d/*"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_bit(folder):
    file = max(folder.rglob("d/*"), key=lambda file: file.stat().st_size)
    changed = bytearray(file.read_bytes())
    changed[len(changed) // 2] ^= 1
    file.write_bytes(changed)


def delete_metadata(folder):
    (folder / "default" / "_METADATA").unlink()


def delete_arrays(folder):
    shutil.rmtree(folder / "default" / "d")


def cut_the_list_too(folder):
    """As a checkpoint without a list would be: Orbax itself has to notice."""
    cut_arrays(folder)
    (folder / "checksums.json").unlink()


def half_a_list(folder):
    file = folder / "checksums.json"
    file.write_bytes(file.read_bytes()[:50])


DAMAGES = [
    cut_arrays,
    flip_a_bit,
    delete_metadata,
    delete_arrays,
    cut_the_list_too,
    half_a_list,
]


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def shapes(params):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)


@pytest.fixture
def run(linear, tmp_path):
    """Two checkpoints, 3 and 7, of which the newer has the initial parameters doubled."""
    run = linear.setup(devices=1)
    run.doubled = jax.tree.map(lambda x: 2 * x, run.state)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, run.state)
        checkpoints.save(7, run.doubled)
    return run


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_newest_is_named_skipped_and_kept(run, tmp_path, capsys, damage):
    damage(tmp_path / "7")
    before = contents(tmp_path)
    message = rf"checkpoint {tmp_path / '7'} (step 7) cannot be read: truncated or damaged"

    ema = load_ema(tmp_path, shapes(run.state.params))
    jax.tree.map(np.testing.assert_array_equal, ema, run.state.ema)
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(abstract(run.state))
        jax.tree.map(np.testing.assert_array_equal, restored, run.state)
        with pytest.raises(Damaged):
            checkpoints.restore(abstract(run.state), 7)
    assert contents(tmp_path) == before  # readers touch nothing
    assert capsys.readouterr().err.count(f"{message}; nothing was deleted; step 3 is used") == 2

    damaged = contents(tmp_path / "7")
    with Checkpoints(tmp_path) as checkpoints:
        step, resumed = checkpoints.resume(run.state)
        assert step == 3
        jax.tree.map(np.testing.assert_array_equal, resumed, run.state)
        for again in (7, 8, 9):  # the same step is written again; the damaged one outlives all
            checkpoints.save(again, run.doubled)
    assert {p.name for p in tmp_path.iterdir()} == {"7.damaged", "8", "9"}
    assert contents(tmp_path / "7.damaged") == damaged
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.resume(run.state)[0] == 9
    assert {p.name for p in tmp_path.iterdir()} == {"7.damaged", "8", "9"}


def test_a_step_that_is_damaged_twice_is_kept_twice(run, tmp_path):
    for _ in range(2):
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.save(7, run.doubled)
        cut_arrays(tmp_path / "7")
        with Checkpoints(tmp_path) as checkpoints:
            assert checkpoints.resume(run.state)[0] == 3
    assert {p.name for p in tmp_path.iterdir()} == {"3", "7.damaged", "7.damaged-2"}


def test_all_damaged_is_an_error_that_names_the_newest_and_changes_nothing(run, tmp_path):
    for step in ("3", "7"):
        delete_metadata(tmp_path / step)
    before = contents(tmp_path)
    with Checkpoints(tmp_path) as checkpoints:
        for read in (checkpoints.resume, lambda state: checkpoints.restore(abstract(state))):
            with pytest.raises(UserError, match=r"\(step 7\) cannot be read: truncated or damaged"):
                read(run.state)
    assert contents(tmp_path) == before


def test_every_file_that_is_restored_is_listed(run, tmp_path):
    """Cut or removed, each is noticed; Orbax's own note of when it committed is not needed."""
    whole = contents(tmp_path / "7")
    for name, content in whole.items():
        file = tmp_path / "7" / name
        for broken in (content[: int(0.9 * len(content))], None):
            file.unlink() if broken is None else file.write_bytes(broken)
            ema = load_ema(tmp_path, shapes(run.state.params))
            later = name.parts[-1] in ("_CHECKPOINT_METADATA", "commit_success.txt")
            unlisted = len(name.parts) == 1 and (later or broken is None)
            expected = run.doubled if unlisted else run.state
            np.testing.assert_array_equal(ema["kernel"], expected.ema["kernel"], err_msg=str(name))
            file.write_bytes(content)


def test_what_a_killed_save_left_is_removed_by_the_next_writer(run, tmp_path):
    left = tmp_path / "9.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "7", left)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() == 7
        checkpoints.save(9, run.state)
    assert not left.exists()
    assert {p.name for p in tmp_path.iterdir()} == {"7", "9"}
