import copy
import dataclasses
import importlib

import jax
import numpy as np
import pytest

from drf_jax import build
from drf_jax.configs import digits, digits_learned
from drf_jax.data.digits import Digits
from drf_jax.denoiser import Denoiser
from drf_jax.errors import UserError
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.process.schedule import CosineVP
from drf_jax.process.table import Table
from drf_jax.sampling.loops import COMPILED, PYTHON

DATA = Digits()


def teacher(**changes):
    return changed(digits.get_config("smoke").to_dict(), changes)


def student(**changes):
    return changed(digits_learned.get_config("calls=4,smoke").to_dict(), changes)


def changed(config, changes):
    """``section__key=value`` sets ``config[section][key]``; the value None removes it."""
    config = copy.deepcopy(config)
    for path, value in changes.items():
        *sections, key = path.split("__")
        at = config
        for name in sections:
            at = at[name]
        if value is None:
            del at[key]
        else:
            at[key] = value
    return config


NETWORK = DenoisingNetwork(build.backbone(teacher(), DATA))
BLANK = Denoiser({}, NETWORK, CosineVP(), "v")


@pytest.mark.parametrize("arg", ["", "smoke"])
def test_committed_configs_are_read_whole(arg):
    config = digits.get_config(arg)
    assert build.task(config) == "teacher"
    assert build.denoising(config, NETWORK).null == {"label": 10}
    assert [m.name for m in build.methods(config, BLANK, DATA, COMPILED)] == list(
        config.evaluate.methods
    )
    for read in (build.train, build.optimizer, build.mesh, build.process, build.source):
        read(config)
    for calls in (8, 4):
        learned = digits_learned.get_config(",".join(filter(None, [f"calls={calls}", arg])))
        assert build.task(learned) == "distill"
        assert build.distillation_spec(learned).rounds == calls - 1
        assert build.methods(learned, BLANK, DATA, COMPILED) == []


@pytest.mark.parametrize("module", [digits, digits_learned])
def test_unknown_arguments_of_configs_are_refused(module):
    with pytest.raises(ValueError, match=r"'smokey': choose.*smoke"):
        module.get_config("smokey")


def test_rows_are_named_by_what_they_cost():
    for method in build.methods(teacher(), BLANK, DATA, COMPILED):
        assert method.name.endswith(f"-{method.sequential_calls}")
        assert (method.drafts > 0) == method.name.startswith("driffusion")
        assert method.network_evaluations >= method.sequential_calls


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (teacher(task="techer"), "config.task = 'techer': choose one of distill, teacher"),
        (teacher(task=None), "config.task = None: choose one of"),
        (teacher(foo=1), "config.foo: unknown key; allowed: task, seed, data"),
        (teacher(process=None), "config.process is missing; it must be a section"),
        (teacher(train=3), "config.train = 3: must be a section"),
        (teacher(seed="a"), "config.seed = 'a': must be int"),
        (teacher(seed=-1), "config.seed = -1: must be at least 0 and below"),
        (student(teacher=None), "config.teacher is missing; it must be str"),
        (
            student(data={"name": "digits"}),
            "config.data: unknown key; allowed: task, seed, teacher",
        ),
    ],
)
def test_task_checks_the_keys_of_the_whole_config(config, message):
    with pytest.raises(UserError, match=f"^{message}"):
        build.task(config)


def test_check_task_names_the_place():
    build.check_task(student(), "distill", "runs/a")
    with pytest.raises(UserError, match=r"runs/a: config\.task is 'distill', and 'teacher' is"):
        build.check_task(student(), "teacher", "runs/a")


@pytest.mark.parametrize(
    ("read", "config", "message"),
    [
        (build.process, teacher(process__name="cos"), "config.process.name = 'cos': choose one of"),
        (
            build.process,
            teacher(process__beta=1),
            "config.process.beta: unknown key; allowed: t_max",
        ),
        (build.source, teacher(data__name="digts"), "data set 'digts' is unknown; known: .*digits"),
        (build.source, teacher(data__size=3), "config.data: .*'size'; allowed: name, limit"),
        (build.output, teacher(output="w"), "prediction = 'w': choose one of"),
        (build.train, teacher(train__steps=0), "config.train.steps = 0: must be at least 1"),
        (
            build.train,
            teacher(train__log_every=0),
            "config.train.log_every = 0: must be at least 1",
        ),
        (
            build.train,
            teacher(train__sample_every=-1),
            "config.train.sample_every = -1: must be at",
        ),
        (build.train, teacher(train__ema=1.0), "config.train.ema = 1.0: must be at least 0 and"),
        (build.train, teacher(train__accumulate=3), "config.train.accumulate = 3: must divide"),
        (
            build.train,
            teacher(train__held_out=20),
            "held_out = 20: must be a multiple of batch_size",
        ),
        (build.train, teacher(train__evaluate_every=5), "evaluate_every = 5: .*held_out = 0"),
        (build.train, teacher(train__keep_best=1), "keep_best = 1: evaluate_every = 0 must divide"),
        (
            build.train,
            teacher(train__held_out=16, train__evaluate_every=3, train__keep_best=1),
            "keep_best = 1: evaluate_every = 3 must divide checkpoint_every = 10",
        ),
        (build.train, student(train__held_out=16), "held_out = 16: a student has no held-out loss"),
        (build.optimizer, teacher(optimizer__lr=1.0), "config.optimizer.lr: unknown key; allowed"),
        (build.mesh, teacher(mesh__data=9), "mesh: data=9 .* does not make 8 devices"),
        (build.mesh, teacher(mesh__data=0), "mesh: data=0 "),
        (
            build.distillation_spec,
            student(method__rounds=0),
            "config.method.rounds = 0: must be at least 1",
        ),
        (
            build.distillation_spec,
            student(method__form="x"),
            "config.method.form = 'x': choose one of data, noise",
        ),
        (
            build.distillation_spec,
            student(method__trajectory_dtype="f2"),
            "trajectory_dtype = 'f2': choose",
        ),
        (
            build.distillation_spec,
            student(method__cross_draft="low"),
            "config.method.cross_draft = 'low': choose one of attention, every_block, none",
        ),
        (
            build.distillation_spec,
            student(method__gradient="cut"),
            "config.method.gradient = 'cut': choose one of stopped, through",
        ),
        (
            build.distillation_spec,
            student(method__draft_weight=0.0, method__refine_weight=0.0, method__end_weight=0.0),
            "config.method: all of draft_weight, .* are 0; nothing is left to learn",
        ),
        (build.evaluate, teacher(evaluate__samples=0), "config.evaluate.samples = 0: must be at"),
        (
            build.evaluate,
            teacher(evaluate__methods=1),
            "config.evaluate.methods = 1: must be a sec",
        ),
    ],
)
def test_sections_are_read_strictly(read, config, message):
    with pytest.raises(UserError, match=message):
        read(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network__name": "vit"}, "config.network.name = 'vit': choose one of dit, unet"),
        ({"network__patch": 3}, "image 8x8 cannot be cut into patches of 3"),
        ({"network__channels": 1}, "config.network.channels: set by the data, leave it out"),
        ({"network__widht": 8}, "config.network.widht: unknown key; allowed: channels, patch"),
        ({"network__width": 64.0}, "config.network.width = 64.0: must be int"),
        ({"network__guidance": True}, "config.network.guidance: for students"),
    ],
)
def test_networks_that_cannot_be_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        build.backbone(teacher(**changes), DATA)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective__weighting": "w"}, "config.objective.weighting = 'w': choose one of edm, eps"),
        ({"objective__times": "w"}, "config.objective.times = 'w': choose one of log_normal"),
        ({"objective__cond_dropout": 1.5}, "config.objective.cond_dropout = 1.5: must be from 0"),
        ({"objective__label_dropout": 0.1}, "label_dropout is now called .*cond_dropout"),
    ],
)
def test_objectives_that_cannot_be_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        build.denoising(teacher(**changes), NETWORK)


CONSERVATIVE = {"name": "driffusion", "mode": "conservative", "steps": 16, "drafts": 3}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({**CONSERVATIVE, "drafts": 16}, ": drafts = 16: a round takes 17 .*at most 15 drafts"),
        (
            {**CONSERVATIVE, "mode": "aggressive", "drafts": 17},
            ": drafts = 17: .*at most 16 drafts",
        ),
        ({**CONSERVATIVE, "drafts": 0}, ": .*drafts = 0: must be at least 1"),
        ({**CONSERVATIVE, "refinements": 4}, ": refinements = 4: choose 1 to drafts = 3"),
        ({**CONSERVATIVE, "order": 0}, ": .*order = 0: must be at least 1"),
        ({**CONSERVATIVE, "form": "x"}, ": form = 'x': choose one of data, noise"),
        (
            {**CONSERVATIVE, "mode": "bold"},
            ": mode = 'bold': choose one of aggressive, anchored, conserv",
        ),
        ({**CONSERVATIVE, "draft": 1}, r"\.draft: unknown key; allowed: steps, drafts, mode"),
        ({"name": "serial"}, r"\.steps is missing; it must be int"),
        ({"name": "serial", "steps": 0}, ": steps = 0: a grid needs at least 1 step"),
        ({"name": "serial", "steps": 4, "grid": "x"}, ": grid = 'x': choose one of"),
        (
            {"name": "serial", "steps": 4, "grid": "trailing"},
            ": grid = 'trailing' needs a discrete",
        ),
        ({"name": "serial", "steps": 4, "step": "x"}, ": step = 'x': choose one of ddim"),
        ({"name": "paralel"}, r"\.name = 'paralel': choose one of driffusion, edm, mult"),
        (3, " = 3: must be a section with a name"),
    ],
)
def test_samplers_that_cannot_be_are_refused_under_their_own_name(spec, message):
    config = teacher(evaluate__methods={"ddim-8": spec})
    with pytest.raises(UserError, match=rf"^config\.evaluate\.methods\.ddim-8{message}"):
        build.methods(config, BLANK, DATA, COMPILED)


def test_rows_begin_with_a_known_family():
    config = teacher(evaluate__methods={"fast-8": {"name": "serial", "steps": 8}})
    with pytest.raises(UserError, match=r"methods\.fast-8: the name must begin with one of ddim"):
        build.methods(config, BLANK, DATA, COMPILED)


class Unlabelled(Digits):
    num_classes = 0


def test_guidance_needs_labels():
    spec = {"name": "serial", "steps": 2, "guidance": 2.0}
    assert build.method("ddim-2", spec, BLANK, DATA, COMPILED, "p").sequential_calls == 2
    with pytest.raises(UserError, match=r"p: guidance = 2\.0: the data digits has no labels"):
        build.method("ddim-2", spec, BLANK, Unlabelled(), COMPILED, "p")
    assert build.guided(BLANK, 1.0, DATA) is BLANK


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """The exact x0 network of data from N(0.5, 0.1²)."""

    def apply(self, variables, x, t, cond):
        alpha, sigma = (f(t)[:, None, None, None] for f in (CosineVP().alpha, CosineVP().sigma))
        return (alpha * 0.01 * x + sigma**2 * 0.5) / (alpha**2 * 0.01 + sigma**2)


@pytest.mark.parametrize("spec", [{"name": "serial", "steps": 90}, {**CONSERVATIVE, "steps": 60}])
def test_method_samples_the_data_of_its_denoiser(spec):
    noise = jax.random.normal(jax.random.key(0), (64, 8, 8, 1))
    denoiser = Denoiser({}, Gaussian(), CosineVP(), "x0")
    made = build.method("ddim", spec, denoiser, DATA, COMPILED, "p")
    samples = np.asarray(made.sampler(noise, jax.random.split(jax.random.key(0), 64), None))
    assert abs(samples.mean() - 0.5) < 0.01
    assert abs(samples.std() - 0.1) < 0.015


def test_processes_are_made_with_their_own_fields():
    assert build.process(teacher(process={"name": "cosine", "t_max": 0.9})) == CosineVP(0.9)
    made = build.process(teacher(process={"name": "table", "betas": "scaled_linear", "steps": 50}))
    assert made == Table("scaled_linear", 50)


def test_convolutions_on_a_cpu_get_the_python_loop():
    assert build.loop(teacher()) is COMPILED
    assert build.loop(teacher(network={"name": "unet"})) is PYTHON


@pytest.mark.parametrize(("sizes", "count"), [((1, 1, 1), 1), ((2, 1, 2), 4), ((-1, 2, 1), 8)])
def test_explicit_mesh_sizes_take_the_first_devices(sizes, count):
    mesh = build.mesh({"mesh": dict(zip(("data", "draft", "model"), sizes, strict=True))})
    assert list(mesh.devices.flat) == jax.devices()[:count]


@pytest.mark.parametrize(
    "name",
    ["digits", "fashion_mnist32", "emoji64", "cifar10", "imagenet512_dit_xl2", "digits_distilled"],
)
def test_every_evaluation_may_be_judged_from_the_command_line(name):
    """A key that a config lacks is refused there."""
    config = importlib.import_module(f"drf_jax.configs.{name}").get_config()
    assert {"judge", "judge_features", "judge_statistics"} <= set(config.evaluate.keys())
    assert not build.evaluate(config.to_dict()).judge
