"""The design of the learned draft–refine student as a list of single changes (DESIGN: `drf_jax.build.DraftRefine`)."""

from typing import Any, NamedTuple

from rival_options import Options, Student, say

from drf_jax import build
from drf_jax.cli.config_file import load_config
from drf_jax.config import changed
from drf_jax.errors import UserError
from drf_jax.sampling.ahead import AheadDrafter
from drf_jax.sampling.anchored import LookaheadDrafter
from drf_jax.sampling.draft import LearnedDrafter
from drf_jax.workdir import flatten

NEVER = 10**9
"""An update that no training comes to."""
ADVERSARY = "ADVERSARY"
"""Stands for the file of the classifier that a training looks through."""
CONSERVATIVE, AGGRESSIVE, STEP = "draft_refine", "draft_refine_aggressive", "step"
ANCHORED = "draft_refine_anchored"
MODES = {"": CONSERVATIVE, "aggressive+": AGGRESSIVE, "anchored+": ANCHORED}
"""Prefix of a name -> method."""
EXTRA = {
    CONSERVATIVE: LearnedDrafter.extra_steps,
    AGGRESSIVE: AheadDrafter.extra_steps,
    ANCHORED: LookaheadDrafter.extra_steps,
}
"""Steps of a round beyond those of its drafts."""
RATES = {"quarter_rate": 0.25, "half_rate": 0.5, "double_rate": 2.0}


class Times(NamedTuple):
    """What the config has, times a factor."""

    factor: float

    def of(self, value: float) -> float:
        return type(value)(value * self.factor)


ABLATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "learned": (CONSERVATIVE, {}),
    "aggressive": (AGGRESSIVE, {}),
    "anchored": (ANCHORED, {}),
    "step": (STEP, {}),
    **{f"{mode}source=step": (method, {"source": STEP}) for mode, method in MODES.items()},
    **{
        f"{mode}{name}": (method, {"optimizer.learning_rate": Times(factor)})
        for name, factor in RATES.items()
        for mode, method in {**MODES, "step+": STEP}.items()
    },
    **{
        f"{mode}{key}={value:g}": (method, {f"optimizer.{key}": value})
        for key, value in (("b2", 0.99), ("clip", 0.1))
        for mode, method in {**MODES, "step+": STEP}.items()
    },
    **{
        f"{mode}{name}": (method, {"train.batch_size": Times(factor)})
        for name, factor in (("half_batch", 0.5), ("double_batch", 2))
        for mode, method in {**MODES, "step+": STEP}.items()
    },
    **{
        f"{mode}{factor}x_trajectories": (method, {"trajectories": Times(factor)})
        for factor in (2, 4, 8, 16)
        for mode, method in {**MODES, "step+": STEP}.items()
    },
    **{
        f"{mode}spacing={p:g}": (method, {"spacing": p})
        for p in (0.5, 0.7, 1.5, 2.0)
        for mode, method in {**MODES, "step+": STEP}.items()
    },
    **{f"drafts={k}": (CONSERVATIVE, {"drafts": k}) for k in (1, 2, 3, 5, 8, 12)},
    **{f"aggressive+drafts={k}": (AGGRESSIVE, {"drafts": k}) for k in (1, 2, 4, 8, 12)},
    **{f"anchored+drafts={k}": (ANCHORED, {"drafts": k}) for k in (1, 2, 3, 5, 7)},
    **{f"{mode}cross_draft=none": (m, {"cross_draft": "none"}) for mode, m in MODES.items()},
    "cross_draft=attention": (CONSERVATIVE, {"cross_draft": "attention"}),
    "cross_draft_width=32": (CONSERVATIVE, {"cross_draft_width": 32}),
    "drafter=target": (CONSERVATIVE, {"drafter": "target"}),
    "share=trunk": (CONSERVATIVE, {"share": "trunk"}),
    "lora_rank=8": (CONSERVATIVE, {"lora_rank": 8}),
    "lora_rank=64": (CONSERVATIVE, {"lora_rank": 64}),
    "form=noise": (CONSERVATIVE, {"form": "noise"}),
    "form=data": (CONSERVATIVE, {"form": "data"}),
    "anchored+form=data": (ANCHORED, {"form": "data"}),
    "gradient=stopped": (CONSERVATIVE, {"gradient": "stopped"}),
    **{
        f"{mode}on_policy_after=0+gradient_between_rounds=through": (
            method,
            {"on_policy_after": 0, "gradient_between_rounds": "through"},
        )
        for mode, method in MODES.items()
        if method != ANCHORED
    },
    "anchored+gradient_between_rounds=through": (
        ANCHORED,
        {"gradient_between_rounds": "through"},
    ),
    "teacher-forced": (CONSERVATIVE, {"on_policy_after": NEVER}),
    **{
        f"{mode}on-policy": (method, {"on_policy_after": 0})
        for mode, method in MODES.items()
        if method != ANCHORED
    },
    **{
        f"{mode}on-policy+{name}": (
            method,
            {"on_policy_after": 0, "optimizer.learning_rate": Times(factor)},
        )
        for name, factor in RATES.items()
        for mode, method in MODES.items()
        if method != ANCHORED
    },
    "draft_weight=0.3": (CONSERVATIVE, {"draft_weight": 0.3}),
    "draft_weight=1": (CONSERVATIVE, {"draft_weight": 1.0}),
    **{f"{mode}refine_weight=1": (m, {"refine_weight": 1.0}) for mode, m in MODES.items()},
    **{
        f"{mode}draft_weight={w:g}+refine_weight={w:g}": (
            method,
            {"draft_weight": w, "refine_weight": w},
        )
        for w in (0.1, 1.0)
        for mode, method in MODES.items()
    },
    **{
        f"{mode}refine_weight=1+end_weight=0": (method, {"refine_weight": 1.0, "end_weight": 0.0})
        for mode, method in MODES.items()
    },
    "anchored+reference=anchor": (ANCHORED, {"reference": "anchor"}),
    "anchored+reference=anchor+source=step": (ANCHORED, {"reference": "anchor", "source": STEP}),
    **{
        f"{mode}high_frequency_weight={w:g}": (method, {"high_frequency_weight": w})
        for w in (1.0, 10.0)
        for mode, method in {**MODES, "step+": STEP}.items()
    },
    **{
        f"{mode}perceptual_weight={w:g}": (
            method,
            {"perceptual_weight": w, "features": ADVERSARY},
        )
        for w in (0.01, 0.1, 1.0)
        for mode, method in {**MODES, "step+": STEP}.items()
    },
    **{
        f"{mode}adversarial_weight={w:g}": (
            method,
            {"adversarial_weight": w, "features": ADVERSARY},
        )
        for w in (0.001, 0.01, 0.1)
        for mode, method in {**MODES, "step+": STEP}.items()
    },
}
"""Name -> method, and what differs from its config: keys of its section ``method``, or dotted ones. Each is one change
of the conservative student, ``learned``, of the aggressive or of the anchored one, or as many as its name has; ``step``
is the control, which gets other settings of the optimizer and further terms of the loss, too."""


def ablations(o: Options, calls: int) -> dict[str, Student]:
    """Those that are possible in so many sequential calls and are no repetition: another's config, or the default's."""
    found, configs = {}, []
    for name, (method, changes) in ABLATIONS.items():
        try:
            student = student_of(o, method, calls, changes)
            config = changed(load_config(student.spec), student.changes)
            build.distillation_spec(config)
            check_rounds(config["method"])
        except UserError as error:
            say(f"{name} is not possible: {error}")
            continue
        parts = config, student.source is not None
        if parts not in configs:
            configs.append(parts)
            found[name] = student
    return found


def student_of(o: Options, method: str, calls: int, changes: dict[str, Any]) -> Student:
    """The training of one of `ABLATIONS`; a ``source`` is the student of that method at the same calls."""
    source, rest = changes.get("source"), {k: v for k, v in changes.items() if k != "source"}
    rest = {key if "." in key else f"method.{key}": value for key, value in rest.items()}
    spec = o.spec("distilled", f"method={method},calls={calls}")
    config = flatten(load_config(spec))

    def meant(key: str, value: Any) -> Any:
        if isinstance(value, Times):
            return value.of(config[key])
        return str(o.adversary) if value == ADVERSARY else value

    return Student(
        spec,
        {key: meant(key, value) for key, value in rest.items()},
        student_of(o, source, calls, {}) if source else None,
    )


def check_rounds(method: dict[str, Any]) -> None:
    """Raise if the teacher's walk is too short for the rounds."""
    if method["name"] in EXTRA:
        steps = method["rounds"] * (method["drafts"] + EXTRA[method["name"]])
        if steps > method["teacher_steps"]:
            raise UserError(
                f"{method['rounds']} rounds of {method['drafts']} drafts take {steps} steps and the teacher's walk has"
                f" {method['teacher_steps']}"
            )
