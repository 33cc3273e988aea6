"""What the configs of distilled students share: their argument, the keys that are the same, and ``smoke``.

Not an experiment by itself: see ``configs/digits_distilled.py`` and its like.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

ROUNDS = {
    "step": lambda calls: {"steps": calls},
    "draft_refine": lambda calls: {"rounds": calls // 2},
    "draft_refine_aggressive": lambda calls: {"rounds": calls - 1},
    "draft_refine_anchored": lambda calls: {"rounds": calls},
}
"""What ``calls=N`` means to the methods that are trained for one number of sequential calls."""
DRAFT_REFINE = tuple(name for name in ROUNDS if name.startswith("draft_refine"))
MULTIPLE = 64
"""Of which a batch that depends on the rounds is one, so that many devices may share it."""
ROWS = {"progressive": (8, 4, 2, 1), "consistency_distillation": (1, 2, 4)}
"""Sequential calls that become rows, where they are not the method's own choice."""
HYBRIDS = {
    "consistency_distillation": "hybrid",
    "lcm": "hybrid-lcm",
    "progressive": "hybrid-progressive",
    "step": "hybrid-step",
}
"""Method -> what rows are called in which its student drafts and the teacher refines."""
PERCEPTUAL = {"perceptual_weight": 0.0, "features": "", "feature_steps": 600, "feature_seed": 1}
"""A distance in a classifier's maps, of consistency functions, too: none."""
TERMS = PERCEPTUAL | {
    "high_frequency_weight": 0.0,
    "adversarial_weight": 0.0,
    "r1_weight": 0.01,
    "discriminator_learning_rate": 1e-3,
}
"""Further terms of the loss of students on the teacher's walks, the step-distilled one, too: none."""
DESIGN = TERMS | {
    "source": "",
    "drafter": "heads",
    "share": "none",
    "lora_rank": 0,
    "form": "noise",
    "draft_weight": 0.0,
    "refine_weight": 0.0,
    "cross_draft": "every_block",
    "cross_draft_width": 0,
    "gradient": "through",
    "gradient_between_rounds": "stopped",
    "end_weight": 1.0,
    "batch_size_on_policy": 0,
}
"""What ``--config.method.KEY=`` explores of draft–refine methods (docs/ablations.md), each at its default: the loss is
the error of the state in which a round ends, through all that leads to it."""


def distilled(
    arg: str,
    methods: Mapping[str, Mapping[str, Any]],
    teacher: str,
    optimizer: Mapping[str, Any],
    players: Mapping[str, Any],
    train: Mapping[str, Any],
    updates: Mapping[str, int],
    evaluate: Mapping[str, Any],
    batches: Mapping[str, int] | None = None,
    rates: Mapping[str, float] | None = None,
    rounds_per_update: Mapping[str, int] | None = None,
    mesh: int = -1,
    grid: str = "uniform",
    spacing: float = 1.0,
    hybrids: Mapping[str, Mapping[str, Any]] | None = None,
) -> ConfigDict:
    """The config for ``method=NAME[,calls=N][,smoke]``; ``calls`` for the methods of `ROUNDS`.

    Args:
      arg: of ``get_config``.
      methods: the options of each method.
      teacher: folder of the teacher's run.
      optimizer: its section; ``players`` is what differs in it for an adversarial student.
      train: its section; ``updates``, ``batches`` and ``rates`` are the steps, batch sizes and learning rates of
        methods that take others. ``rounds_per_update`` is batch size times rounds of those whose update has all
        rounds: so memory and work stay about as they are when ``calls`` changes.
      evaluate: of its section, what depends on the data.
      mesh: devices that split the batch; -1 is all.
      grid: of the teacher's walk and of the students' own times.
      spacing: of the steps of students on the teacher's walk.
      hybrids: what differs in ``evaluate.hybrid`` for drafters by these methods (``"step"``), or by one in so many
        calls (``"step,calls=1"``).
    """
    parts = list(filter(None, arg.split(",")))
    smoke = "smoke" in parts
    options = dict(part.partition("=")[::2] for part in parts if part != "smoke")
    name, calls = options.pop("method", "step"), options.pop("calls", None)
    if options or name not in methods or (calls and name not in ROUNDS):
        raise ValueError(
            f"argument {arg!r}: choose method=NAME of {', '.join(methods)}; smoke;"
            f" calls=N of {', '.join(ROUNDS)}"
        )
    if calls and (not calls.isdigit() or min(ROUNDS[name](int(calls)).values()) < 1):
        raise ValueError(f"argument {arg!r}: {calls} sequential calls are not possible for {name}")
    if name == "draft_refine" and calls and int(calls) % 2:
        raise ValueError(f"argument {arg!r}: a round of {name} is two calls; choose an even number")
    config = ConfigDict()
    config.task = "distill"
    config.seed = 0
    config.teacher = teacher
    design = DESIGN if name in DRAFT_REFINE else TERMS if name == "step" else {}
    if name in ("consistency_distillation", "consistency_training"):
        design = PERCEPTUAL
    if name == "consistency_training":
        design = design | {"dtype": "float32"}  # bfloat16 may round away what neighbours differ in
    if name == "draft_refine_anchored":
        design = design | {"reference": "draft"}
    spaced = {"spacing": spacing} if name in ROUNDS else {}
    config.method = {"name": name, "grid": grid, **spaced, **design, **methods[name]}
    config.optimizer = {"schedule": "cosine", "clip": 1.0, "b1": 0.9, "b2": 0.999, **optimizer}
    config.optimizer.learning_rate = (rates or {}).get(name, config.optimizer.learning_rate)
    config.train = {"accumulate": 1, "keep": 2, "tensorboard": False, **train}
    config.train.steps = updates.get(name, config.train.steps)
    config.train.batch_size = (batches or {}).get(name, config.train.batch_size)
    config.mesh = {"data": mesh, "draft": 1, "model": 1, "params": "replicate"}
    config.evaluate = {
        "row": "",
        "calls": ROWS.get(name, ()),
        "guidance": 1.0,
        "methods": {},
        "features": "",
        "seeds": 1,
        "repeats": 20,
        "judge": "",
        "judge_features": "",
        "judge_statistics": "",
        **evaluate,
    }
    if calls:
        config.method.update(ROUNDS[name](int(calls)))
    if rounds_per_update and name in rounds_per_update:
        multiple = rounds_per_update[name] // config.method.rounds // MULTIPLE
        config.train.batch_size = MULTIPLE * max(1, multiple)
    if name in HYBRIDS:
        rounds = () if name == "step" else (1, 2, 4)  # a student of n steps drafts n rounds only
        config.evaluate.hybrid = {
            "row": HYBRIDS[name],
            "rounds": rounds,
            "drafts": 3,
            "grid": "",
            "relaxation": 1.0,
            "ended_by_student": (),
            "refiner": "",
            **drafted(hybrids or {}, name, calls),
        }
    if name == "adversarial":
        # For both players: momentum makes the game collapse.
        config.optimizer.update(b1=0.0, b2=0.99, **players)
    if smoke:
        make_small(config)
    return config


def drafted(hybrids: Mapping[str, Mapping[str, Any]], name: str, calls: str | None) -> dict:
    own = hybrids.get(f"{name},calls={calls}", {}) if calls else {}
    return {**hybrids.get(name, {}), **own}


def make_small(config: ConfigDict) -> None:
    """A few updates of everything."""
    config.optimizer.warmup = 1
    config.train.update(steps=4, batch_size=8, log_every=2, checkpoint_every=2, sample_every=0)
    config.mesh.data = 1
    config.evaluate.update(samples=16, batch_size=8, metrics=("fd",), repeats=2, feature_steps=20)
    if config.method.name in ROUNDS:
        config.method.update(
            trajectories=16, trajectory_batch=8, on_policy_after=2, batch_size_on_policy=4
        )
    if config.method.name.startswith("draft_refine"):
        config.method.update(rounds=2, drafts=2)
    if config.method.name == "progressive":
        config.method.update(start=8, last=2)
        config.evaluate.calls = (4, 2)
        config.evaluate.hybrid.rounds = (2,)
    if "feature_steps" in config.method:
        config.method.feature_steps = 4
