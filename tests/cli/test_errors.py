"""Every mistake of the user: exit code 2, one line that names the thing, nothing written or changed."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from drf_jax.cli.main import main
from drf_jax.configs import digits, digits_learned

TEACHER = [
    *("--config", f"{digits.__file__}:smoke"),
    *("--config.network.width=16", "--config.network.depth=1", "--config.network.heads=2"),
]
STUDENT = ["--config", f"{digits_learned.__file__}:calls=4,smoke"]
FILE = """
from drf_jax.configs import digits


def get_config(arg=""):
    config = digits.get_config("smoke")
    {line}
    return config
"""


def contents(folder):
    """Relative path -> hash of every file, and of every folder nothing."""
    return {
        str(path.relative_to(folder)): path.is_file()
        and hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
    }


@pytest.fixture
def refused(tmp_path, capsys):
    """``refused(message, *argv)``: the command says so in one line and leaves the folder as it is."""

    def check(message, *argv):
        before = contents(tmp_path)
        capsys.readouterr()
        assert main([str(word) for word in argv]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        [line] = printed.err.splitlines()
        assert line.startswith("drf: ")
        assert "Traceback" not in line
        assert re.search(message, line), line
        assert contents(tmp_path) == before

    return check


@pytest.fixture
def teacher(demo, tmp_path):
    """A copy of a teacher's run."""
    return shutil.copytree(demo / "teacher", tmp_path / "teacher")


@pytest.fixture
def student(demo, tmp_path):
    """A copy of a student's run."""
    return shutil.copytree(demo / "learned-4", tmp_path / "learned")


def edit(path, **changes):
    """Change keys, written ``a__b``, of a JSON file."""
    stored = json.loads(path.read_text())
    for name, value in changes.items():
        *sections, key = name.split("__")
        at = stored
        for section in sections:
            at = at[section]
        at[key] = value
    path.write_text(json.dumps(stored))


# Words of the command line.


@pytest.mark.parametrize(
    ("message", "argv"),
    [
        ("unknown command 'trian': choose one of train, sample", ["trian"]),
        (r"unknown flag --foo; allowed: .*--workdir.*--config", ["train", *TEACHER, "--foo=1"]),
        ("unexpected argument 'more'", ["train", *TEACHER, "--workdir=x", "more"]),
        ("--workdir is missing: the folder of the run", ["train", *TEACHER]),
        ("--workdir is missing: the folder of the run", ["train", *TEACHER, "--workdir="]),
        ("Missing value for flag --workdir", ["train", *TEACHER, "--workdir"]),
        (r"--config is missing: a file with get_config\(arg\)", ["train", "--workdir=x"]),
        ("count=0: 0 is not a positive integer", ["sample", *TEACHER, "--count=0"]),
        ("count=few: invalid literal for int", ["sample", *TEACHER, "--count=few"]),
        ("unknown flag --steps; allowed: --out, --arg", ["demo", "--steps=3"]),
        (
            "--checkpoint old: must be latest, best or the number",
            ["sample", *TEACHER, "--workdir=x", "--checkpoint=old"],
        ),
        (
            "--checkpoint best: only a teacher's can be chosen",
            ["evaluate", *STUDENT, "--workdir=x", "--checkpoint=best"],
        ),
    ],
)
def test_flags(refused, message, argv):
    refused(message, *argv)


@pytest.mark.parametrize(
    ("message", "flag"),
    [
        (r"--config\.trian: unknown key; allowed in config: data, .*, train$", "trian=1"),
        (
            r"--config\.train\.step: unknown key; allowed in config\.train: .*steps",
            "train.step=1",
        ),
        (r"--config\.seed\.a: config\.seed = 0 is a value without keys", "seed.a=1"),
        (r"config\.train\.steps=ten: invalid literal for int\(\)", "train.steps=ten"),
        (r"config\.train\.steps=1\.5: invalid literal for int\(\)", "train.steps=1.5"),
        (r"config\.train\.ema=high: could not convert string to float", "train.ema=high"),
        (r"config\.train\.tensorboard=2: .*bool", "train.tensorboard=2"),
        (r"config\.train=3: .*not a dict", "train=3"),
        (r"config\.train\.steps = 0: must be at least 1", "train.steps=0"),
        (r"config\.network\.name = 'vit': choose one of dit, unet", "network.name=vit"),
        (r"config\.sampler: steps = 0: a grid needs at least 1", "sampler.steps=0"),
        (r"mesh: data=64 .* does not make 8 devices", "mesh.data=64"),
        (r"schedule: 'step' is unknown; allowed: constant", "optimizer.schedule=step"),
        (
            r"--config\.evaluate\.methods\.ddim-8\.steps\.x: .* is a value without keys",
            "evaluate.methods.ddim-8.steps.x=1",
        ),
    ],
)
def test_changed_keys(refused, tmp_path, message, flag):
    refused(message, "train", *TEACHER, f"--config.{flag}", "--workdir", tmp_path / "run")


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (r"config\.foo: unknown key; allowed: task, seed, data", "config.foo = 1"),
        (r"config\.train\.foo: unknown key; allowed: steps, batch_size", "config.train.foo = 1"),
        (r"config\.process is missing; it must be a section", "del config['process']"),
        (
            r"config\.task = 'walk': choose one of distill, teacher",
            "config.task = 'walk'",
        ),
        (r"config\.py: line 7: TypeError: .*steps", "config.train.steps = 'x'"),
        (r"config\.py: line 7: NameError: name 'undefined'", "config.train.steps = undefined"),
        (r"config\.py: line 7: SyntaxError", "config.train.steps = = 3"),
        (r"config\.py: get_config must return a ConfigDict, not NoneType", "return None"),
        (
            r"methods\.big: the name must begin with one of ddim",
            "config.evaluate.methods.big = config.evaluate.methods['ddim-4']",
        ),
        (
            r"config\.evaluate\.methods\.ddim-4\.stride: unknown key; allowed: steps",
            "config.evaluate.methods['ddim-4'].stride = 2",
        ),
    ],
)
def test_mistakes_in_the_config_file(refused, tmp_path, message, line):
    path = tmp_path / "config.py"
    path.write_text(FILE.format(line=line))
    refused(message, "train", "--config", path, "--workdir", tmp_path / "run")


def test_config_files_that_are_none(refused, tmp_path):
    run = ["--workdir", tmp_path / "run"]
    refused("--config nowhere.py: no such file", "train", "--config", "nowhere.py", *run)
    refused(f"--config {tmp_path}: no such file", "train", "--config", tmp_path, *run)
    (tmp_path / "empty.py").write_text("x = 1\n")
    message = r"empty\.py: the file has no function get_config\(arg\)"
    refused(message, "train", "--config", tmp_path / "empty.py", *run)
    refused("argument 'tiny': choose smoke", "train", "--config", f"{digits.__file__}:tiny", *run)


# More drafts than the grid has steps.


@pytest.mark.parametrize(("mode", "most"), [("conservative", 15), ("aggressive", 16)])
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_more_drafts_than_the_grid_has_steps(refused, teacher, tmp_path, command, mode, most):
    methods = {
        f"driffusion-{mode}-9": {"name": "driffusion", "mode": mode, "steps": 16, "drafts": 20}
    }
    flag = f"--config.evaluate.methods={methods}"
    message = rf"methods\.driffusion-{mode}-9: drafts = 20: .* grid has 16; at most {most} drafts"
    workdir = teacher if command == "evaluate" else tmp_path / "run"
    refused(message, command, *TEACHER, flag, "--workdir", workdir)


def test_more_drafts_than_the_teacher_has_steps(refused, demo, tmp_path):
    run = [f"--config.teacher={demo / 'teacher'}", "--workdir", tmp_path / "run"]
    message = r"config\.method: 3 rounds of 60 steps each are 180, more than teacher_steps = 48"
    refused(message, "train", *STUDENT, "--config.method.drafts=60", *run)
    message = r"batch_size_on_policy = 4: must be a multiple of 8"
    refused(message, "train", *STUDENT, "--config.mesh.data=-1", *run)


# Checkpoints.


@pytest.mark.parametrize("command", ["train", "sample", "evaluate"])
def test_checkpoint_of_another_architecture(refused, teacher, command):
    edit(teacher / "config.json", network__width=32)
    wide = ["--config.network.width=32", "--workdir", teacher]
    refused(
        r"another architecture: .*\(11, 16\) in the file and \(11, 32\)", command, *TEACHER, *wide
    )


@pytest.mark.parametrize("command", ["sample", "evaluate"])
def test_missing_checkpoint(refused, teacher, demo, tmp_path, command):
    message = f"no checkpoint in {teacher / 'checkpoints'}"
    shutil.rmtree(teacher / "checkpoints/20")
    shutil.rmtree(teacher / "checkpoints/10")
    refused(message, command, *TEACHER, "--workdir", teacher)
    shutil.rmtree(teacher / "checkpoints")
    refused(message, command, *TEACHER, "--workdir", teacher)
    flags = [f"--config.teacher={teacher}", "--workdir", tmp_path / "student"]
    refused(message, "train", *STUDENT, *flags)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("command", ["train", "sample", "evaluate"])
def test_truncated_checkpoints(refused, teacher, command):
    for step in ("10", "20"):
        files = [p for p in (teacher / "checkpoints" / step).rglob("d/*") if p.is_file()]
        largest = max(files, key=lambda p: p.stat().st_size)
        largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    newest = teacher / "checkpoints" / "20"
    refused(
        rf"checkpoint {newest} \(step 20\) cannot be read: truncated or damaged",
        *(command, *TEACHER, "--workdir", teacher),
    )


# Folders.


@pytest.mark.parametrize("command", ["train", "sample", "evaluate"])
def test_folder_of_another_experiment(refused, teacher, student, command):
    other = [*TEACHER, "--config.train.batch_size=8", "--workdir", teacher]
    refused(
        r"holds another experiment: config\.train\.batch_size is 16 there and 8 here",
        command,
        *other,
    )
    # A student's folder is no teacher's, and the other way round.
    refused("learned holds another experiment: config", command, *TEACHER, "--workdir", student)


@pytest.mark.parametrize("command", ["sample", "evaluate", "train"])
def test_a_students_config_for_a_teachers_folder(refused, demo, teacher, command):
    run = [*STUDENT, f"--config.teacher={demo / 'teacher'}", "--workdir", teacher]
    refused("teacher holds another experiment: config", command, *run)


@pytest.mark.parametrize("command", ["sample", "evaluate"])
def test_folder_without_a_run(refused, tmp_path, command):
    refused("config.json is missing; train it first", command, *TEACHER, "--workdir", tmp_path)


@pytest.mark.parametrize("command", ["train", "sample", "evaluate"])
def test_damaged_config_of_a_run(refused, teacher, command):
    text = (teacher / "config.json").read_text()
    (teacher / "config.json").write_text(text[: len(text) // 2])
    refused(r"config\.json is not readable JSON", command, *TEACHER, "--workdir", teacher)


def test_teacher_that_is_none(refused, student, tmp_path):
    new = ["--workdir", tmp_path / "new"]
    nowhere = tmp_path / "nowhere"
    message = f"no run in {nowhere}: .* is missing; train it first"
    refused(message, "train", *STUDENT, f"--config.teacher={nowhere}", *new)
    refused(
        "learned: config.task is 'distill', and 'teacher' is needed here",
        *("train", *STUDENT, f"--config.teacher={student}", *new),
    )
    edit(student / "config.json", teacher=str(nowhere))
    for command in ("sample", "evaluate"):
        run = [*STUDENT, f"--config.teacher={nowhere}", "--workdir", student]
        refused(message, command, *run)


@pytest.mark.parametrize("command", ["train", "sample", "evaluate"])
def test_student_of_a_teacher_that_has_changed(refused, demo, student, command):
    edit(student / "teacher.json", sha256="0123456789abcdef")
    run = [*STUDENT, f"--config.teacher={demo / 'teacher'}", "--workdir", student]
    refused(
        "distilled from another teacher: .*0123456789ab.*use that teacher or another", command, *run
    )


def test_students_that_cannot_be_compared(refused, demo, teacher, student):
    evaluate = ["evaluate", *TEACHER, "--workdir", teacher]
    flag = f"--config.evaluate.students=('{teacher}',)"
    refused("teacher: config.task is 'teacher', and 'distill' is needed", *evaluate, flag)
    flag = f"--config.evaluate.students=('{demo / 'learned-4'}', '{student}')"
    refused(f"{student}: another method is already called learned-4", *evaluate, flag)


def test_folders_that_cannot_be_written(refused, teacher, tmp_path):
    (tmp_path / "file").write_text("a file")
    below = tmp_path / "file" / "run"
    refused(f"cannot write to {below}: Not a directory", "train", *TEACHER, "--workdir", below)
    refused(f"cannot read or write {below.parent}", "demo", "--out", below, "--arg=smoke")
    run = ["sample", *TEACHER, "--workdir", teacher, "--count=1"]
    refused(f"{below}: Not a directory", *run, f"--out={below / 'x.png'}")
    refused(r"x\.jpg: the picture is a PNG", *run, f"--out={tmp_path / 'x.jpg'}")
