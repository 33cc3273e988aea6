"""A teacher's run as a few small files, to carry it between machines.

    FOLDER/teacher.json     its config, the update, how the files are split
    FOLDER/teacher-I.npz    averaged parameters, each file below ``LIMIT`` bytes

They are float32 where that makes at most ``WHOLE`` bytes, else rounded to bfloat16. What is unpacked is a teacher like
any other, with a hash of its own: rounded once, it is the same teacher on every machine. It cannot be trained on.
"""

import json
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from drf_jax import build
from drf_jax.atomic import replacing
from drf_jax.errors import UserError
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.runs.teacher import load_teacher
from drf_jax.training.checkpoint import Checkpoints
from drf_jax.training.state import TrainState
from drf_jax.workdir import claim

LIMIT = 15 * 2**20
WHOLE = 32 * 2**20


def pack_teacher(workdir: str | Path, folder: str | Path) -> None:
    """Write the newest averaged parameters of the run in ``workdir``."""
    folder, teacher = Path(folder), load_teacher(workdir)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(teacher.denoiser.params)]
    if sum(leaf.nbytes for leaf in leaves) > WHOLE:
        # npz knows no bfloat16, but its bits.
        leaves = [leaf.astype(jnp.bfloat16).view(np.uint16) for leaf in leaves]
    parts: list[dict[str, np.ndarray]] = [{}]
    for i, leaf in enumerate(leaves):
        if parts[-1] and sum(x.nbytes for x in parts[-1].values()) + leaf.nbytes > LIMIT:
            parts.append({})
        parts[-1][str(i)] = leaf
    for i, part in enumerate(parts):
        with replacing(folder / f"teacher-{i}.npz") as file:
            np.savez(file, **part)
    with replacing(folder / "teacher.json") as file:
        file.write(json.dumps({"files": len(parts), "config": teacher.config}).encode())


def is_packed(folder: str | Path) -> bool:
    """Whether a teacher was packed there; teacher.json is written last."""
    return (Path(folder) / "teacher.json").exists()


def unpack_teacher(folder: str | Path, workdir: str | Path) -> None:
    """Make the run in ``workdir`` from the files.

    Raises:
      UserError: a file is missing or damaged, or ``workdir`` holds another run.
    """
    folder, found = Path(folder), {}
    try:
        facts = json.loads((folder / "teacher.json").read_text())
        for i in range(facts["files"]):
            with np.load(folder / f"teacher-{i}.npz", allow_pickle=False) as stored:
                found |= {int(name): stored[name] for name in stored.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{folder} holds no whole packed teacher: {error}") from None
    config = facts["config"]
    data = build.source(config)
    network = DenoisingNetwork(build.backbone(config, data))
    shapes = jax.eval_shape(lambda: build.init_teacher(network, data, jax.random.key(0)))
    leaves = [
        jnp.asarray(x.view(jnp.bfloat16) if x.dtype == np.uint16 else x, jnp.float32)
        for _, x in sorted(found.items())
    ]
    if [x.shape for x in leaves] != [x.shape for x in jax.tree.leaves(shapes)]:
        raise UserError(f"{folder} holds a packed teacher of another architecture")
    params = jax.tree.unflatten(jax.tree.structure(shapes), leaves)
    step = config["train"]["steps"]
    claim(workdir, config)
    with Checkpoints(Path(workdir) / "checkpoints") as checkpoints:
        checkpoints.save(step, TrainState(jnp.int32(step), params, params, {}))
