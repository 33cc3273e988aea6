"""Before training, the learned system is the training-free sampler: the identity the library is built around."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from drf_jax import build
from drf_jax.data.digits import Digits
from drf_jax.denoiser import Denoiser
from drf_jax.errors import UserError
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.objectives.draft_refine import OnPolicy, TeacherForced
from drf_jax.process.gaussian import prior
from drf_jax.runs.distillation.draft_refine import DraftRefineStage
from drf_jax.runs.distillation.stage import Setting
from drf_jax.runs.teacher import Teacher
from drf_jax.sampling import driffusion
from drf_jax.sampling.anchored import AnchoredDrafter
from drf_jax.sampling.draft import AggressiveDrafter, ConservativeDrafter
from drf_jax.sampling.loops import COMPILED
from drf_jax.sampling.refine import ParallelRefiner
from drf_jax.training.optimizer import Optimizer

K, ROUNDS, B = 2, 2, 2
NETWORKS = {
    "dit": {"patch": 2, "width": 8, "depth": 1, "heads": 2},
    "unet": {
        "width": 4,
        "multipliers": (1, 2),
        "blocks": 1,
        "attention": (False, False),
        "heads": 2,
    },
}


def jit(f):
    """``jax.jit`` that compiles quickly rather than well."""
    return jax.jit(f, compiler_options={"xla_backend_optimization_level": 0})


def random_teacher(name, dtype):
    """A teacher none of whose parameters is zero."""
    network = {"name": name, "dtype": dtype, **NETWORKS[name]}
    config = {"process": {"name": "cosine"}, "output": "v", "network": network}
    data = Digits()
    network = DenoisingNetwork(build.backbone(config, data))
    shapes = jax.eval_shape(lambda: build.init_teacher(network, data, jax.random.key(0)))
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) / 4, leaf.dtype), shapes
    )
    denoiser = Denoiser(params, network, build.process(config), build.output(config))
    return Teacher(config, data, network, denoiser, "")


MODES = {
    build.DraftRefine: ConservativeDrafter,
    build.DraftRefineAggressive: AggressiveDrafter,
    build.DraftRefineAnchored: lambda denoiser, form: AnchoredDrafter(denoiser.process, form),
}


def student_of(teacher, form, method=build.DraftRefine, **options):
    """A stage, and its parameters before training."""
    spec = method(rounds=ROUNDS, drafts=K, trajectories=1, form=form, **options)
    train = build.Train(steps=1, batch_size=2)
    stage = DraftRefineStage(spec, Setting(teacher, train, Optimizer(1e-3), 0, COMPILED))
    return stage, jit(stage.init)(teacher.denoiser.params, jax.random.key(3))


VARIANTS = {
    "target": {"drafter": "target"},
    "shared": {"share": "trunk"},
    "low-rank": {"lora_rank": 2},
    "all": {"drafter": "target", "share": "trunk", "lora_rank": 2, "cross_draft": "attention"},
}


@pytest.mark.parametrize("form", ["noise", "data"])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", MODES)
def test_untrained_student_is_the_training_free_sampler(method, name, form):
    # The first call of the aggressive student is of K copies of the noise.
    check(method, name, form, K - 1 if method is build.DraftRefineAggressive else 0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_whatever_its_parameters_are_made_of(variant):
    options = VARIANTS[variant]
    # A drafter that is told its target is evaluated K times a round.
    more = ROUNDS * (K - 1) if "drafter" in options else 0
    check(build.DraftRefine, "dit", "noise", more, **options)


def test_an_aggressive_student_of_low_rank_is_the_training_free_sampler():
    check(build.DraftRefineAggressive, "dit", "noise", K - 1, lora_rank=2)


def check(method, name, form, more_evaluations, **options):
    with jax.enable_x64(True):
        teacher = random_teacher(name, "float64")
        stage, params = student_of(teacher, form, method, **options)
        made, grid = stage.student, stage.times
        process = made.process
        noise = jax.random.normal(jax.random.key(1), (B, 8, 8, 1), jnp.float64)
        x, cond = prior(process, noise, grid[0]), {"label": jnp.array([3, 10])}
        drafter = MODES[method](teacher.denoiser, form)
        rounds = driffusion.make_rounds(grid, K, drafter.extra_steps)
        assert len(rounds.times) == ROUNDS

        def run(slots):
            options = {"form": form, "record": True}
            return driffusion.sample(*slots, process, rounds, x, cond, **options)

        free = jit(run)((drafter, ParallelRefiner(teacher.denoiser)))
        learned = jit(run)(stage.slots(params))
    assert np.abs(free.trace.error).max() > 1e-3  # the refinement does something
    for a, b in [
        (learned.trace.drafts, free.trace.drafts),
        (learned.trace.refined, free.trace.refined),
        (learned.x, free.x),
    ]:
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(learned.sequential_calls, free.sequential_calls)
    free_evaluations = np.asarray(free.network_evaluations)
    np.testing.assert_array_equal(learned.network_evaluations, free_evaluations + more_evaluations)
    method = stage.method(params, stage.calls[0], 1.0)
    costs = (method.sequential_calls, method.network_evaluations)
    assert costs == (learned.sequential_calls[0], learned.network_evaluations[0])


def test_low_rank_trains_deltas_and_what_is_its_own():
    teacher = random_teacher("dit", "float32")
    stage, params = student_of(teacher, "noise", lora_rank=2, share="trunk")
    assert set(params) == {"lora", "own"}
    grid = tuple(stage.times.tolist())
    states = jax.random.normal(jax.random.key(2), (B, len(grid), 8, 8, 1))
    batch = {"states": states, "cond": {"label": jnp.array([1, 2])}}
    frozen = {"base": stage.base(teacher.denoiser.params)}
    loss = stage.of_trained(TeacherForced(stage.student, grid, ROUNDS))
    run = jit(jax.grad(lambda p: loss(p, frozen, batch, jax.random.key(0))[0].mean()))
    grads = flatten_dict(run(params), sep="/")
    assert any("shared/trunk/block_0" in path for path in grads)
    for path, leaf in grads.items():
        if path.endswith("/b") or path.startswith("own/drafter/heads"):
            assert jnp.any(leaf != 0), path
        if path.endswith("/a"):  # B is still zero
            assert jnp.all(leaf == 0), path


def test_only_the_conservative_student_has_a_drafter_to_choose_and_trunks_to_share():
    spec = {"rounds": ROUNDS, "drafts": K, "trajectories": 1}
    for key, value, allowed in [("drafter", "target", "heads"), ("share", "trunk", "none")]:
        message = rf"config\.method\.{key} = '{value}': choose one of {allowed}"
        with pytest.raises(UserError, match=message):
            build.DraftRefineAggressive(**spec, **{key: value})


def gradients(objective, stage, params):
    """Of every parameter, where none is zero at random states."""
    grid = tuple(stage.times.tolist())
    states = jax.random.normal(jax.random.key(2), (B, len(grid), 8, 8, 1))
    batch = {"states": states, "cond": {"label": jnp.array([1, 2])}}
    loss = objective(stage.student, grid, ROUNDS)
    grads = jit(jax.grad(lambda p: loss(p, None, batch, jax.random.key(0))[0].mean()))(params)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    return grads, jax.tree.map(lambda leaf: bool(jnp.any(leaf != 0)), grads)


@pytest.mark.parametrize("objective", [TeacherForced, OnPolicy])
def test_untrained_conservative_student_has_gradients_everywhere(objective):
    grads, moved = gradients(objective, *student_of(random_teacher("dit", "float32"), "noise"))
    assert jax.tree.all([moved["drafter"][name] for name in ("embed", "trunk", "heads")])
    heads = jnp.abs(grads["drafter"]["heads"]["out"]["kernel"]).sum(axis=(1, 2))
    assert heads.shape == (K,) and (heads > 0).all()
    assert jax.tree.all(moved["drafter"]["targets"]["trunk"])
    assert jax.tree.all(moved["drafter"]["targets"]["heads"])
    assert moved["refiner"]["trunk"]["mix_0"]["out"]["kernel"]
    assert jax.tree.all(moved["refiner"]["head"])


@pytest.mark.parametrize("objective", [TeacherForced, OnPolicy])
def test_untrained_aggressive_student_has_gradients_everywhere(objective):
    teacher = random_teacher("dit", "float32")
    grads, moved = gradients(objective, *student_of(teacher, "noise", build.DraftRefineAggressive))
    moved = moved["network"]
    assert jax.tree.all([moved[name] for name in ("embed", "head", "ahead")])
    heads = jnp.abs(grads["network"]["ahead"]["out"]["kernel"]).sum(axis=(1, 2))
    assert heads.shape == (K,) and (heads > 0).all()
    assert moved["trunk"]["mix_0"]["out"]["kernel"]


@pytest.mark.parametrize("method", MODES)
def test_without_cross_draft_attention_there_are_no_parameters_of_it(method):
    teacher = random_teacher("dit", "float32")
    for cross_draft, expected in [("none", False), ("every_block", True)]:
        _, params = student_of(teacher, "noise", method, cross_draft=cross_draft)
        assert ("mix_0" in str(jax.tree.structure(params))) == expected


def test_teacher_survives_the_training_of_its_student():
    teacher = random_teacher("dit", "float32")
    _, params = student_of(teacher, "noise")
    for leaf in jax.tree.leaves(params):
        leaf.delete()
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(teacher.denoiser.params))
