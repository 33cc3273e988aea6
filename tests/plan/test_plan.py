"""``drf plan`` on the suite's 8 virtual devices, as a user runs it."""

import dataclasses
import importlib.util
import json
import math

import jax
import pytest

from drf_jax import build
from drf_jax.cli.main import main
from drf_jax.configs import digits
from drf_jax.data.shapes import Shapes
from drf_jax.data.source import load_source
from drf_jax.errors import UserError
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.plan.chips import CHIPS
from drf_jax.plan.collectives import Collectives
from drf_jax.plan.cost import Cost
from drf_jax.plan.data import planned_data
from drf_jax.plan.plan import make_plan, text
from drf_jax.plan.programs import Program, programs
from drf_jax.plan.roofline import roofline
from drf_jax.plan.topology import Topology
from drf_jax.sharding import make_mesh
from drf_jax.training.state import TrainState

CONFIG = """
from drf_jax.configs import digits
def get_config(arg=""):
    config = digits.get_config()
    config.network.update(width=16, depth=1, heads=2)
    config.train.batch_size = 16
    config.evaluate.batch_size = 8
    return config
"""
STUDENT = """
from drf_jax.configs import digits_learned
def get_config(arg=""):
    config = digits_learned.get_config("smoke")
    config.teacher = "nowhere"
    return config
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    (folder / "teacher.py").write_text(CONFIG)
    (folder / "student.py").write_text(STUDENT)
    return folder


@pytest.fixture
def plan(folder, capsys, quick_compile):
    """``plan(*flags)``: the record that drf plan prints without a search, of the teacher unless said."""

    def run(*flags, config="teacher", topology="cpu:8"):
        argv = [f"--config={folder}/{config}.py", f"--topology={topology}", "--json", *flags]
        with quick_compile():
            assert main(["plan", "--nosearch", *argv]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def refusal(folder, capsys, quick_compile):
    """``refusal(*flags)``: the one line with which drf plan refuses."""

    def run(*flags, config="teacher", topology="--topology=cpu:8"):
        argv = [f"--config={folder}/{config}.py", topology, "--nosearch", *flags]
        with quick_compile():
            assert main(["plan", *argv]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("drf: ") and err.count("\n") == 1
        return err

    return run


def test_the_planned_update_takes_exactly_the_runs_arguments(plan):
    """Bytes a device of state, batch and key, each in its layout."""
    found = plan()
    config = digits.get_config()
    config.network.update(width=16, depth=1, heads=2)
    config.train.batch_size = 16
    data, mesh = build.source(config), make_mesh(8, 1, 1)
    program = programs(config, data, mesh, config, "")["train"]()
    lowered = program.lower(16)
    (state, frozen, batch, _), _ = lowered.args_info
    assert isinstance(state, TrainState) and frozen is None and program.unit == 8
    size = lambda tree: sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))
    key_bytes = 8
    assert found["bytes"]["arguments"] == size(state) + size(batch) // 8 + key_bytes
    assert found["batch"] == 16 and found["chips"] == 8 and found["mesh"]["data"] == 8
    assert "estimate" not in found and found["largest_batch"] is None


def test_data_parallel_training_is_one_all_reduce_of_the_gradient(plan):
    found = plan()["collectives"]
    config = digits.get_config()
    config.network.update(width=16, depth=1, heads=2)
    data = build.source(config)
    network = DenoisingNetwork(build.backbone(config, data))
    shapes = jax.eval_shape(lambda: build.init_teacher(network, data, jax.random.key(0)))
    gradient = 4 * sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert [c["kind"] for c in found] == ["all-reduce"]
    assert gradient <= found[0]["payload"] < gradient + 64  # and a few scalars


def test_a_samplers_flops_grow_with_its_sequential_calls(plan):
    """XLA counts a loop's body once; the plan counts all of it."""
    flops = {
        name: plan("--program=sample", f"--method={name}")["flops"]
        for name in ("ddim-48", "ddim-8")
    }
    assert flops["ddim-48"] == pytest.approx(6 * flops["ddim-8"], rel=0.02)


def test_with_the_drafts_spread_a_device_makes_one_evaluation_a_call(plan):
    """8 calls of 3 drafts cost a device what 8 serial calls cost, and one exchange a round."""
    serial = plan(
        "--nosearch", "--program=sample", "--method=ddim-8", "--mesh=data=4", topology="cpu:4"
    )
    spread = plan(
        *("--program=sample", "--method=driffusion-conservative-8"),
        *("--mesh=data=2,draft=3", "--batch=4"),
        topology="cpu:6",
    )
    assert spread["flops"] == pytest.approx(
        serial["flops"], rel=0.05
    )  # two images a device in both
    assert sum(c["count"] for c in spread["collectives"] if c["kind"] == "all-gather") == 4


def test_split_parameters_need_less_of_every_device(plan):
    wide = ("--config.network.width=128", "--batch=8")
    whole = plan(*wide)["bytes"]["arguments"]
    split = plan(*wide, "--config.mesh.params=fsdp")
    assert split["bytes"]["arguments"] < whole / 2
    assert {"all-gather", "reduce-scatter", "all-reduce"} & {
        c["kind"] for c in split["collectives"]
    }


class Sized(Program):
    """Its lowered program is its batch."""

    def lower(self, batch):
        return batch


@pytest.fixture
def searched(monkeypatch):
    """``searched(batch, memory, **options)``: the plan of a program that needs 10 bytes an example, and 100."""

    def run(batch, memory, **options):
        cost = lambda size, *_: Cost(100, 10 * size, 0, 0, 1.0, 1.0, (), 0.0)
        monkeypatch.setattr("drf_jax.plan.plan.compile_cost", cost)
        topology = Topology("cpu:8", jax.devices()[:8], None)
        program = Sized("train", lambda b: None, 64, 8)
        return make_plan(program, topology, {}, batch, memory, **options)

    return run


def test_the_largest_batch_fits_and_the_next_does_not(searched):
    plan = searched(64, 1500, compiles=20)
    assert (plan.batch, plan.largest_batch) == (64, 128)
    assert plan.bound == "144 does not fit" and plan.cost.memory == 740
    assert searched(64, None, compiles=2).bound == "no limit found"


def test_what_does_not_fit_is_refused_with_what_does(searched):
    with pytest.raises(UserError, match=r"batch 64 does not fit a chip.*that fits is 24"):
        searched(64, 400, compiles=20)
    with pytest.raises(UserError, match="; none smaller fits"):
        searched(64, 100, compiles=20)


def test_too_little_memory_is_refused(refusal):
    err = refusal("--memory=0.0001")
    assert "train on cpu:8: batch 16 does not fit a chip" in err and "of 0.00 GiB" in err


@pytest.mark.parametrize("program", [pytest.param("on_policy", marks=pytest.mark.slow), "sample"])
def test_a_students_programs_are_planned_from_its_teachers_config(folder, plan, program):
    found = plan(
        *(f"--teacher={folder}/teacher.py", f"--program={program}", "--batch=8"),
        config="student",
        topology="cpu:2",
    )
    assert found["program"] == program and found["flops"] > 0


@pytest.mark.parametrize(
    "flags, problem",
    [
        (["--mesh=data=3"], "does not make 8 devices"),
        (["--mesh=rows=2"], "an axis of data, draft, model"),
        (["--mesh=data=x"], "'x' must be a whole number"),
        (["--batch=12"], "must be a multiple of 8"),
        (["--program=test"], "choose one of sample, train"),
        (["--program=sample", "--method=best"], "--method best: choose one of ddim-"),
        (["--image=8,8"], "give height,width,channels"),
        (["--classes=10"], "give --image"),
        (["--config.data.name=unheard"], "'unheard' is unknown"),
    ],
)
def test_mistakes_are_one_line(refusal, flags, problem):
    assert problem in refusal(*flags)


@pytest.mark.parametrize(
    "topology, problem",
    [
        ("", "--topology is missing"),
        ("v5e", "must be GENERATION:SHAPE"),
        ("v2:4x4", "a generation of v5e, v5p, v6e"),
        ("cpu:99", "this process has 8 CPU devices only"),
    ],
)
def test_unknown_topologies_are_refused(refusal, topology, problem):
    assert problem in refusal(topology=f"--topology={topology}")


def test_without_the_tpu_compiler_it_says_how_to_get_it(refusal, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "libtpu" else find(name)
    )
    assert "pip install 'drf_jax[tpu]'" in refusal(topology="--topology=v5e:4x4")


def test_a_teacher_that_is_not_here_is_asked_for(refusal):
    assert "no run in nowhere" in refusal(config="student")


def test_data_that_are_not_here_have_known_or_given_shapes():
    known = planned_data({"data": {"name": "cifar10", "data_dir": "nowhere"}})
    assert (known.image_shape, known.num_classes) == ((32, 32, 3), 10)
    small = planned_data({"data": {"name": "cifar10", "data_dir": "nowhere", "size": 16}})
    assert small.image_shape == (16, 16, 3)
    captions = {"name": "emoji", "data_dir": "nowhere", "captions": True}
    assert planned_data({"data": captions}).caption_width == 384
    assert planned_data({"data": captions | {"captions": False}}).caption_width == 0
    given = planned_data({"data": {"name": "mine"}}, (8, 8, 4), 5)
    assert (given.image_shape, given.num_classes, given.name) == ((8, 8, 4), 5, "mine")
    with pytest.raises(UserError, match="give --image and --classes"):
        planned_data({"data": {"name": "image_folder", "data_dir": "nowhere"}})


def test_the_printed_plan_has_every_number(searched):
    moved = (Collectives("all-reduce", 3, 4_100_000, 7 * 10**9),)
    plan = dataclasses.replace(
        searched(64, 1500, compiles=20),
        topology=Topology("v5e:4x4", 2 * jax.devices(), CHIPS["v5e"]),
        mesh={"data": 16, "draft": 1, "model": 1},
        cost=Cost(2**31, 2**30, 0, 2**20, 197e12, 819e9, moved, 12.3),
    )
    assert text(plan).splitlines() == [
        "program          train, batch 64 on 16 chips of v5e:4x4",
        "mesh             data=16, draft=1, model=1",
        "memory a chip    3.00 GiB of 16 GiB (arguments 2.00 GiB, temporaries 1.00 GiB, outputs 0.00 MiB,"
        " code 1.00 MiB)",
        "FLOPs a chip     197 TFLOP",
        "accessed a chip  819 GB",
        "all-reduce       3 ×, 4.1 MB together, 7 GB through a chip",
        "least time       1e+03 ms (compute 1e+03 ms, memory 1e+03 ms, network 35 ms)",
        "                 64 images/s at most; roofline estimate: a lower bound, not a measurement",
        "largest batch    128 (144 does not fit)",
        "compiled         in 12 s with low effort",
    ]


def test_shapes_have_no_images():
    data = load_source("shapes", image_shape=(8, 8, 4), num_classes=3)
    assert data == Shapes((8, 8, 4), 3) and data.caption_width == 0
    for ask in (lambda: len(data), lambda: data[0]):
        with pytest.raises(UserError, match="serves drf plan only"):
            ask()


def test_the_roofline_is_the_slowest_of_three():
    moved = (Collectives("all-reduce", 1, 1, 10**9),)
    cost = Cost(1, 2, 3, 4, 197e12, 819e9 / 2, moved, 0.0)
    least = roofline(cost, CHIPS["v5e"])
    assert (least.compute, least.memory, least.network) == (1.0, 0.5, 1 / 200)
    assert least.seconds == 1.0 and least.bound == "compute" and cost.memory == 10
