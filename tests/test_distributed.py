import pytest

from drf_jax.cli import main as cli
from drf_jax.configs import digits
from drf_jax.distributed import connect, in_turn
from drf_jax.errors import UserError
from drf_jax.runs import teacher

TRAIN = ["train", "--config", f"{digits.__file__}:smoke", "--workdir", "unused"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"coordinator": "a:1"}, "--processes is missing: give all of --coordinator, --proc"),
        ({"processes": 2, "process": 0}, "--coordinator is missing"),
        (
            {"coordinator": "a:1", "processes": 2, "process": 2},
            "--process=2: must be at least 0 and below --processes=2",
        ),
    ],
)
def test_half_an_address_is_a_user_error(given, message):
    with pytest.raises(UserError, match=message):
        connect(**given)


def test_flags_reach_connect_before_the_run_and_only_when_asked(monkeypatch):
    calls = []
    monkeypatch.setattr("drf_jax.cli.distributed.connect", lambda *args: calls.append(args))
    monkeypatch.setattr(teacher, "train_teacher", lambda *args: calls.append("run"))
    assert cli.main(TRAIN) == 0
    where = ["--coordinator=a:1", "--processes=4", "--process=3", "--timeout=7"]
    assert cli.main([*TRAIN, "--distributed", *where]) == 0
    assert calls == ["run", ("a:1", 4, 3, 7), "run"]


def test_profile_is_a_few_updates_of_the_run(monkeypatch):
    profiles = []
    run = lambda config, workdir: profiles.append(config.train.get("profile", 0))
    monkeypatch.setattr(teacher, "train_teacher", run)
    for flags in ([], ["--profile"]):
        assert cli.main([*TRAIN, *flags]) == 0
    assert profiles == [0, cli.PROFILED]


def test_one_process_waits_for_nobody():
    with in_turn():
        pass
