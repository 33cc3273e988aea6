"""Parts of the walk that a student and its teacher hand over to each other."""

import jax
import numpy as np
import pytest

from drf_jax.configs import digits_distilled, emoji64_distilled
from drf_jax.errors import UserError
from drf_jax.runs.distil import stages_of, train_distilled


@pytest.fixture(scope="module")
def handover(experiment):
    return experiment("handover")


def walks(handover, teacher, module, method, **changes):
    config = module.get_config(f"method={method},smoke")
    config.method.update(changes)
    _, (stage,) = stages_of(config, teacher)
    params = stage.init(teacher.denoiser.params, jax.random.key(0))
    return handover.Walks(stage, params, teacher), stage, params


@pytest.mark.parametrize("method", ["step", "draft_refine"])
@pytest.mark.parametrize("module", [digits_distilled, emoji64_distilled])
def test_together_the_parts_are_the_students_sampler(
    handover, untrained_teacher, module, method, monkeypatch
):
    monkeypatch.setattr(handover, "BATCH", 4)  # the last batch is a smaller one
    made, stage, params = walks(handover, untrained_teacher, module, method)
    found = handover.handed_over(made, untrained_teacher, 6)
    noise = handover.initial_noise(
        keys := handover.sample_keys(handover.root_key(0, handover.SAMPLE), np.arange(6)), (8, 8, 1)
    )
    cond = handover.condition_of(untrained_teacher.data, np.arange(6))
    whole = stage.method(params, stage.calls[0], 1.0).sampler(noise, keys, cond)
    np.testing.assert_allclose(found["student"], whole, rtol=1e-5, atol=1e-5)
    last = len(made.nodes) - 1
    assert len(found) == 2 * last and len({states.tobytes() for states in found.values()}) > 2


def test_a_student_of_the_teachers_own_steps_loses_nothing_anywhere(handover, untrained_teacher):
    made, _, _ = walks(
        handover, untrained_teacher, digits_distilled, "step", steps=4, teacher_steps=4, spacing=1.0
    )
    found = handover.handed_over(made, untrained_teacher, 3)
    assert list(found)[1:3] == [
        "teacher to t = 0.25, then student",
        "teacher to t = 0.50, then student",
    ]
    assert list(found)[-1] == "student" and len(found) == 8
    for states in found.values():
        np.testing.assert_allclose(states, found["teacher"], atol=1e-5)


def test_the_lines_of_a_run(handover, demo, tmp_path, capsys):
    config = digits_distilled.get_config("method=step,smoke")
    config.teacher = str(demo / "teacher")
    config.method.steps = 2
    train_distilled(config.to_dict(), tmp_path / "step")
    assert handover.main([f"--students={tmp_path / 'step'}", "--samples=32"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[1] == "step, 32 samples:" and len(told) == 9
    assert told[5].startswith("| teacher | ") and told[5].endswith(" | 0 | 0 |")
    assert told[6].startswith("| teacher to t = 0.37, then student | ")
    assert told[-1].startswith("| student | ")
    assert handover.main([f"--students={demo / 'learned-4'}"]) == 2
    message = "learned-4: learned-aggressive: its rounds pass on more than a state"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("method", ["draft_refine_anchored", "progressive"])
def test_others_are_refused(handover, untrained_teacher, method):
    config = digits_distilled.get_config(f"method={method},smoke")
    _, (stage, *_) = stages_of(config, untrained_teacher)
    params = stage.init(untrained_teacher.denoiser.params, jax.random.key(0))
    with pytest.raises(UserError, match=r"pass on more than a state|walk in parts"):
        handover.Walks(stage, params, untrained_teacher)
