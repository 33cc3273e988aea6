"""Jobs one after the other: what is skipped, what is saved, when a deadline ends it."""

import pytest


@pytest.fixture(scope="module")
def measuring(experiment):
    return experiment("measuring")


def work(measuring, time, seconds):
    """Jobs that take so many seconds on the clock ``time``."""

    def job(i, took):
        def measure():
            time[0] += took
            return {"name": i, "took": took}

        return measuring.Job("table", {"name": i}, measure)

    return [job(i, took) for i, took in enumerate(seconds)]


def measure(measuring, seconds, deadline, tables=None):
    """Names in the table after it, how often it was saved, whether all was measured."""
    time, saved, tables = [100.0], [], tables or {"table": []}
    jobs = work(measuring, time, seconds)
    clock = lambda: time[0]
    done = measuring.measure_all(jobs, tables, lambda: saved.append(1), deadline, clock)
    return [entry["name"] for entry in tables["table"]], len(saved), done


def test_without_a_deadline_all_are_measured_and_each_is_saved(measuring):
    assert measure(measuring, [5, 50, 5], 0) == ([0, 1, 2], 3, True)


def test_nothing_is_started_that_may_end_too_late(measuring, capsys):
    seconds = [2, 4, 2, 2]  # 6 s are over after two, and the third may take 4
    assert measure(measuring, seconds, 9) == ([0, 1], 2, False)
    assert "9 seconds are nearly over" in capsys.readouterr().err
    assert measure(measuring, seconds, 10) == ([0, 1, 2], 3, False)


def test_what_is_known_is_neither_measured_nor_counted(measuring):
    tables = {"table": [{"name": 0, "took": 99}, {"name": 2, "took": 99}]}
    assert measure(measuring, [9, 1, 9], 5, tables) == ([0, 2, 1], 1, True)
