import threading

import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation.sample_files import alone_with, forget_others, sample_file

A, B = 16 * "a", 16 * "b"


def test_what_was_made_with_other_parameters_is_forgotten(tmp_path):
    files = [sample_file(tmp_path, *of) for of in (("x", 0, A), ("x", 0, B), ("x", 1, B))]
    files += [sample_file(tmp_path, "x-y", 0, B), tmp_path / "notes.txt", tmp_path / "x-0.f32"]
    for file in files:
        file.write_text("")
    files[1].with_suffix(".json").write_text("")
    forget_others([files[0], tmp_path / "not_made-0.f32"])
    assert set(tmp_path.iterdir()) == set(files) - {files[1]}


def test_two_do_not_write_one_file_at_a_time(tmp_path):
    file, order = tmp_path / "samples" / "a-0.f32", []

    def second():
        with alone_with(file):
            order.append("second")

    with alone_with(file):
        other = threading.Thread(target=second)
        other.start()
        other.join(0.2)
        assert other.is_alive()
        with alone_with(file.with_name("b-0.f32")):
            order.append("first")
    other.join(10)
    assert order == ["first", "second"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "samples").write_text("a file")
    refused = pytest.raises(UserError, match=r"a-0\.f32 cannot be written: (File exists|Not a)")
    with refused, alone_with(tmp_path / "samples" / "a-0.f32"):
        pass


def test_where_no_samples_are_nothing_is_to_be_forgotten(tmp_path):
    forget_others([sample_file(tmp_path / "none", "ddim-4", 0, "0" * 16)])
    assert not list(tmp_path.iterdir())
