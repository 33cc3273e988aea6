import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation.generate import generate
from drf_jax.evaluation.resumable import generate_resumably

ROOT = jax.random.key(3)
SHAPE = (2, 2, 1)


class Sampler:
    """Counts its calls, and dies at the one it is told to."""

    def __init__(self, dies_at=None):
        self.calls, self.dies_at = 0, dies_at

    def __call__(self, noise, keys, cond):
        self.calls += 1
        if self.calls == self.dies_at:
            raise KeyboardInterrupt
        return jnp.tanh(noise) + cond["label"][:, None, None, None]


def draw(path, sampler, count=22, mark="a", part=8):
    cond = lambda index: {"label": jnp.asarray(index)}
    return generate_resumably(
        path, mark, sampler, ROOT, count, SHAPE, cond, batch_size=4, part=part
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "samples" / "ddim-0.f32"


@pytest.fixture(scope="module")
def expected():
    cond = lambda index: {"label": jnp.asarray(index)}
    return generate(Sampler(), ROOT, np.arange(30), SHAPE, cond, batch_size=4)


def test_samples_are_those_of_generate_and_made_once(path, expected):
    first = Sampler()
    samples = draw(path, first)
    assert samples.dtype == np.float32 and first.calls == 6
    np.testing.assert_array_equal(samples, expected[:22])
    second = Sampler()
    np.testing.assert_array_equal(draw(path, second), expected[:22])
    assert second.calls == 0


@pytest.mark.parametrize("dies_at, done", [(1, 0), (2, 0), (3, 8), (4, 8), (6, 16)])
def test_a_kill_loses_at_most_a_part(path, expected, dies_at, done):
    with pytest.raises(KeyboardInterrupt):
        draw(path, Sampler(dies_at))
    rest = Sampler()
    np.testing.assert_array_equal(draw(path, rest), expected[:22])
    assert rest.calls == 6 - done // 4


def test_a_kill_between_rows_and_note_does_no_harm(path, expected):
    with pytest.raises(KeyboardInterrupt):
        draw(path, Sampler(5))
    with path.open("ab") as file:
        file.write(b"\1" * 77)
    np.testing.assert_array_equal(draw(path, Sampler()), expected[:22])


def test_more_samples_go_on_from_those_there(path, expected):
    draw(path, Sampler(), 22)
    more = Sampler()
    np.testing.assert_array_equal(draw(path, more, 30), expected)
    assert more.calls == 3  # rows 20 and 21 were in an incomplete batch
    fewer = Sampler()
    np.testing.assert_array_equal(draw(path, fewer, 5), expected[:5])
    assert fewer.calls == 0 and draw(path, fewer, 30).shape == (30, *SHAPE)


@pytest.mark.parametrize("harm", ["mark", "note", "no note", "cut", "shape"])
def test_other_or_damaged_samples_are_made_anew(path, expected, harm):
    draw(path, Sampler())
    note, mark = path.with_suffix(".json"), "a"
    if harm == "mark":
        mark = "b"
    elif harm == "note":
        note.write_text("{")
    elif harm == "no note":
        note.unlink()
    elif harm == "shape":
        note.write_text(json.dumps({**json.loads(note.read_text()), "state": [4]}))
    else:
        path.write_bytes(path.read_bytes()[:-1])
    anew = Sampler()
    np.testing.assert_array_equal(draw(path, anew, mark=mark), expected[:22])
    assert anew.calls == 6


def test_a_place_that_cannot_be_written_is_named(path):
    path.parent.write_text("a file")
    with pytest.raises(UserError, match=r"ddim-0\.f32 cannot be written"):
        draw(path, Sampler())
