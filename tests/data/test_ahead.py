import threading

import jax
import pytest

from drf_jax.data.ahead import BATCHES, read_ahead
from drf_jax.errors import UserError


def test_any_order_of_steps_gives_the_rows_of_those_steps():
    batch = read_ahead(lambda i: i)
    for step in (0, 1, 2, 7, 8, 3, 3, 0, 1):
        assert batch(step) == step


def test_a_process_reads_its_own_rows(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    monkeypatch.setattr(jax, "process_index", lambda: 2)
    batch = read_ahead(lambda i: i)
    for step in (4, 5, 6):
        assert batch(step) == 3 * step + 2


def test_the_following_batches_are_made_by_other_threads_before_they_are_asked_for():
    made, enough = [], threading.Event()

    def make(i):
        made.append((i, threading.get_ident()))
        if len(made) >= BATCHES:
            enough.set()
        return i

    batch = read_ahead(make)
    batch(10)
    assert enough.wait(10)
    assert {i for i, _ in made} >= set(range(10, 10 + BATCHES - 1))
    assert threading.get_ident() not in {thread for _, thread in made}


def test_an_error_arrives_with_its_own_step_and_does_not_last():
    broken = {5}

    def make(i):
        if i in broken:
            raise UserError(f"image {i} cannot be read")
        return i

    batch = read_ahead(make)
    assert [batch(i) for i in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match="image 5"):
        batch(5)
    broken.clear()
    assert batch(5) == 5
