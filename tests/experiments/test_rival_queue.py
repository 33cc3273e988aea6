"""Whether another student of a table is begun."""

import dataclasses

import pytest

from drf_jax.runs.processes import Deadline


@pytest.fixture
def queue(experiment):
    """``(seconds left, accelerators) -> Queue`` of students of 100 s."""
    module = experiment("rival_queue")
    options = module.Options(data="digits", seconds=100.0)

    def make(left, accelerators=1):
        mine = dataclasses.replace(
            options, accelerators=accelerators, deadline=Deadline(float(left))
        )
        return module.Queue(mine)

    return make


@pytest.mark.parametrize(("left", "accelerators", "enter"), [(440, 1, 3), (440, 2, 5), (180, 1, 0)])
def test_as_many_enter_as_can_be_trained_one_after_the_other(queue, left, accelerators, enter):
    q = queue(left, accelerators)
    assert [q.enter(name) for name in "abcdef"] == [True] * enter + [False] * (6 - enter)


def test_who_is_trained_makes_room(queue):
    q = queue(200)
    assert q.enter("a") and not q.enter("b")
    q.leave("a")
    assert q.enter("b")
