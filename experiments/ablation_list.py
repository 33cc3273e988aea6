"""The design of the learned draft–refine student as a list of single changes (DESIGN: `drf_jax.build.DraftRefine`)."""

import ast
from collections.abc import Iterable
from typing import Any, NamedTuple

from rival_options import Options, Student, looks_through_classifier, say

from drf_jax.cli.config_file import load_config
from drf_jax.config import changed, convert
from drf_jax.errors import UserError
from drf_jax.sampling.ahead import AheadDrafter
from drf_jax.sampling.anchored import LookaheadDrafter
from drf_jax.sampling.draft import LearnedDrafter
from drf_jax.workdir import flatten

NEVER = 10**9
"""An update that no training comes to."""
METHODS = {
    "learned": "draft_refine",
    "aggressive": "draft_refine_aggressive",
    "anchored": "draft_refine_anchored",
    "step": "step",
}
"""First word of a name -> method; ``learned`` if it has none of them."""
EXTRA = {
    METHODS["learned"]: LearnedDrafter.extra_steps,
    METHODS["aggressive"]: AheadDrafter.extra_steps,
    METHODS["anchored"]: LookaheadDrafter.extra_steps,
}
"""Steps of a round beyond those of its drafts."""


class Times(NamedTuple):
    """What the config has, times a factor."""

    factor: float

    def of(self, value: float) -> float:
        return type(value)(value * self.factor)


RATES = {"quarter_rate": 0.25, "half_rate": 0.5, "double_rate": 2.0}
BATCHES = {"quarter_batch": 0.25, "half_batch": 0.5, "double_batch": 2}
TRAJECTORIES = {f"{factor}x_trajectories": factor for factor in (2, 4, 8, 16)}
WORDS: dict[str, dict[str, Any]] = {
    **{word: {"optimizer.learning_rate": Times(factor)} for word, factor in RATES.items()},
    **{word: {"train.batch_size": Times(factor)} for word, factor in BATCHES.items()},
    **{word: {"method.trajectories": Times(factor)} for word, factor in TRAJECTORIES.items()},
    "on-policy": {"method.on_policy_after": 0},
    "teacher-forced": {"method.on_policy_after": NEVER},
}
"""Changes with a name of their own -> dotted keys of the config. All others are KEY=VALUE of its section ``method``, or
of ``optimizer`` (`OF_OPTIMIZER`)."""
OF_OPTIMIZER = ("b2", "clip")


def of_modes(changes: Iterable[str], modes: Iterable[str]) -> list[str]:
    """Names of these changes in each of the modes."""
    return [("" if m == "learned" else f"{m}+") + each for each in changes for m in modes]


LEARNED = tuple(name for name in METHODS if name != "step")
ABLATIONS = (
    *METHODS,
    *of_modes(["source=step"], LEARNED),
    *of_modes((*RATES, "b2=0.99", "clip=0.1", *BATCHES, *TRAJECTORIES), METHODS),
    *of_modes([f"spacing={p:g}" for p in (0.5, 0.7, 1, 1.5, 2)], METHODS),
    *of_modes([f"grid={grid}" for grid in ("shifted:2", "shifted:4", "power:2")], METHODS),
    *[f"drafts={k}" for k in (1, 2, 3, 5, 8, 12)],
    *[f"aggressive+drafts={k}" for k in (1, 2, 4, 8, 12)],
    *[f"anchored+drafts={k}" for k in (1, 2, 3, 5, 7)],
    *of_modes(["cross_draft=none"], LEARNED),
    "cross_draft=attention",
    "cross_draft_width=32",
    "drafter=target",
    "share=trunk",
    "lora_rank=8",
    "lora_rank=64",
    "form=noise",
    "form=data",
    "anchored+form=data",
    "gradient=stopped",
    *of_modes(["on_policy_after=0+gradient_between_rounds=through"], ("learned", "aggressive")),
    "anchored+gradient_between_rounds=through",
    "teacher-forced",
    *of_modes(["on-policy"], ("learned", "aggressive")),
    *of_modes([f"on-policy+{rate}" for rate in RATES], ("learned", "aggressive")),
    "draft_weight=0.3",
    "draft_weight=1",
    *of_modes(["refine_weight=1"], LEARNED),
    *of_modes([f"draft_weight={w:g}+refine_weight={w:g}" for w in (0.1, 1)], LEARNED),
    *of_modes(["refine_weight=1+end_weight=0"], LEARNED),
    "anchored+reference=anchor",
    "anchored+reference=anchor+source=step",
    *of_modes([f"high_frequency_weight={w:g}" for w in (1, 10)], METHODS),
    *of_modes([f"perceptual_weight={w:g}" for w in (0.01, 0.1, 1)], METHODS),
    *of_modes([f"adversarial_weight={w:g}" for w in (0.001, 0.01, 0.1)], METHODS),
)
"""What is made unless ``--only`` says otherwise: each is one change, or a few, of the conservative student,
``learned``, of the aggressive or of the anchored one, or of the control, ``step``."""


def ablations(o: Options, calls: int, more: Iterable[str] = ()) -> dict[str, Student]:
    """Those of `ABLATIONS` that are possible in so many sequential calls and are no repetition: another's config, or
    the default's. And those that are asked for besides, as ``--only`` or as ``more``.

    Raises:
      UserError: one that is asked for besides is not possible.
    """
    found, configs = {}, []
    for name in ABLATIONS:
        try:
            student, config = possible(o, name, calls)
        except UserError as error:
            say(f"{name} is not possible: {error}")
            continue
        parts = config, student.source is not None
        if parts not in configs:
            configs.append(parts)
            found[name] = student
    besides = [name for name in more if name not in ABLATIONS]
    return found | {name: possible(o, name, calls)[0] for name in besides}


def possible(o: Options, name: str, calls: int) -> tuple[Student, dict[str, Any]]:
    """The training that a name says, and its config.

    Raises:
      UserError: the name says nothing, or what is not possible.
    """
    student = student_of(o, name, calls)
    config = changed(load_config(student.spec), student.changes)
    if looks_through_classifier(config):
        looking = {"method.features": str(o.adversary)}
        student = student._replace(changes=student.changes | looking)
        config = changed(config, looking)
    check_rounds(config["method"])
    return student, config


def student_of(o: Options, name: str, calls: int) -> Student:
    """The training that a name says; a ``source`` is the student of that method at the same calls.

    Raises:
      UserError: a word of it says nothing, or two say the same.
    """
    words = name.split("+")
    first = words.pop(0) if words[0] in METHODS else "learned"
    spec = o.spec("distilled", f"method={METHODS[first]},calls={calls}")
    config = flatten(load_config(spec))
    source, changes = None, {}
    for word in words:
        if word == "source=step" and "method.source" in config:
            source = student_of(o, "step", calls)
            continue
        new = change_of(word, config, name)
        if twice := new.keys() & changes.keys():
            raise UserError(f"{name}: says config.{min(twice)} twice")
        changes |= new
    return Student(spec, changes, source)


def change_of(word: str, config: dict[str, Any], name: str) -> dict[str, Any]:
    """The dotted keys of the config that one word of a name changes, and what they become."""
    if word in WORDS:
        meant = lambda key, value: value.of(config[key]) if isinstance(value, Times) else value
        return {key: meant(key, value) for key, value in WORDS[word].items()}
    key, equals, text = word.partition("=")
    path = f"optimizer.{key}" if key in OF_OPTIMIZER else f"method.{key}"
    if not equals or path not in config or key in ("name", "source"):
        own = sorted(key.removeprefix("method.") for key in config if key.startswith("method."))
        raise UserError(
            f"{name}: {word} is no change; choose among {', '.join(WORDS)} and KEY=VALUE with a key of"
            f" {', '.join((*OF_OPTIMIZER, *own))}"
        )
    kind = type(config[path])
    try:
        value = text if kind is str else convert(ast.literal_eval(text), kind, f"config.{path}")
    except (ValueError, SyntaxError):
        raise UserError(f"{name}: {text!r} is no {kind.__name__}") from None
    return {path: value}


def check_rounds(method: dict[str, Any]) -> None:
    """Raise if the teacher's walk is too short for the rounds."""
    if method["name"] in EXTRA:
        steps = method["rounds"] * (method["drafts"] + EXTRA[method["name"]])
        if steps > method["teacher_steps"]:
            raise UserError(
                f"{method['rounds']} rounds of {method['drafts']} drafts take {steps} steps and the teacher's walk has"
                f" {method['teacher_steps']}"
            )
