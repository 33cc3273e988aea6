"""Exported samplers: the same images, in a process that has neither this library nor Flax."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import export
from drf_jax.denoiser import Denoiser
from drf_jax.errors import UserError
from drf_jax.networks.dit import DiT
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.networks.unet import UNet
from drf_jax.process.schedule import CosineVP
from drf_jax.sampling import grid
from drf_jax.sampling.draft import ConservativeDrafter
from drf_jax.sampling.guidance import Guided
from drf_jax.sampling.loops import COMPILED, PYTHON
from drf_jax.sampling.method import driffusion_method, serial_method
from drf_jax.sampling.refine import ParallelRefiner
from drf_jax.sampling.step import DDPM

PROCESS, SHAPE = CosineVP(), (2, 4, 4, 2)
COND = {"label": np.array([0, 2], np.int32)}
DIT = DiT(channels=2, width=8, depth=1, heads=2, num_classes=3)
UNET = UNet(2, width=8, multipliers=(1,), blocks=1, attention=(False,), heads=1, num_classes=3)

ELSEWHERE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("drf_jax", "flax", "optax", "ml_collections", "jaxtyping"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import jax
import jax.export
import numpy

stored = numpy.load(sys.argv[1])
program = jax.export.deserialize(bytearray(stored["program"]))
params = jax.device_put([stored[f"p{i}"] for i in range(len(stored.files) - 1)])
given = numpy.load(sys.argv[2])
images = jax.jit(program.call)(params, given["noise"], given["keys"], {"label": given["label"]})
numpy.save(sys.argv[3], images)
"""


@pytest.fixture(autouse=True)
def quick(quick_compile):
    with quick_compile():
        yield


def denoiser(backbone, dtype=jnp.float32):
    network = DenoisingNetwork(backbone)
    args = (jnp.zeros((1, *SHAPE[1:])), jnp.zeros(1), {"label": jnp.zeros(1, jnp.int32)})
    shapes = jax.eval_shape(network.init, jax.random.key(0), *args)["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(0.1 * rng.standard_normal(leaf.shape), dtype), shapes
    )
    null = {"label": jnp.asarray(3, jnp.int32)}
    return Guided(Denoiser(params, network, PROCESS, "v"), jnp.asarray(2.0), null)


def driffusion(model, loop=COMPILED, refinements=1, steps=8):
    slots = ConservativeDrafter(model), ParallelRefiner(model)
    args = (PROCESS, grid.uniform(PROCESS, steps), 3, "noise", loop, "conservative", refinements)
    return driffusion_method("driffusion-conservative-4", *slots, *args)


def ddpm(model):
    return serial_method("ddpm-3", DDPM(), model, PROCESS, grid.uniform(PROCESS, 3), COMPILED)


def inputs():
    keys = jax.random.split(jax.random.key(1), SHAPE[0])
    return jax.random.normal(jax.random.key(0), SHAPE), keys, jax.tree.map(jnp.asarray, COND)


@pytest.mark.parametrize("make", [driffusion, ddpm])
def test_the_same_images_without_this_library(make, tmp_path):
    method = make(denoiser(DIT))
    card = export.save(tmp_path / "sampler.npz", method, SHAPE, COND)
    noise, keys, cond = inputs()
    np.savez(tmp_path / "in.npz", noise=noise, keys=jax.random.key_data(keys), **cond)
    (tmp_path / "run.py").write_text(ELSEWHERE)
    files = [str(tmp_path / name) for name in ("run.py", "sampler.npz", "in.npz", "out.npy")]
    subprocess.run([sys.executable, *files], check=True, cwd=tmp_path, env=os.environ)
    np.testing.assert_allclose(np.load(files[-1]), method.sampler(noise, keys, cond), atol=1e-5)
    assert card == json.loads((tmp_path / "sampler.json").read_text())
    assert card["platforms"] == ["cpu", "cuda", "tpu"]
    assert card["inputs"]["noise"] == {"shape": [2, 4, 4, 2], "dtype": "float32"}
    assert card["inputs"]["cond"] == {"label": {"shape": [2], "dtype": "int32"}}
    assert card["output"] == card["inputs"]["noise"]
    assert card["sequential_calls"] == method.sequential_calls
    different = {id(leaf): leaf.size for leaf in jax.tree.leaves(method.sampler)}
    assert card["parameters"] == sum(different.values())


def test_it_is_loaded_back_with_bfloat16_parameters(tmp_path):
    method = driffusion(denoiser(dataclasses.replace(DIT, dtype="bfloat16"), jnp.bfloat16))
    export.save(tmp_path / "sampler.npz", method, SHAPE, COND, ["cpu"])
    noise, keys, cond = inputs()
    images = export.load(tmp_path / "sampler.npz")(noise, jax.random.key_data(keys), cond)
    np.testing.assert_allclose(images, method.sampler(noise, keys, cond), atol=1e-2)
    assert len(np.unique(np.asarray(images))) > 8


def test_a_python_loop_is_unrolled_and_a_compiled_one_is_not():
    model = denoiser(UNET)
    text = {
        (loop, steps): export.export_sampler(
            driffusion(model, loop, steps=steps), SHAPE, COND, ["cpu"]
        )[0].mlir_module()
        for loop in (COMPILED, PYTHON)
        for steps in (8, 16)
    }
    whiles = {key: module.count("stablehlo.while") for key, module in text.items()}
    calls = {key: module.count("call @first_pass") for key, module in text.items()}
    assert whiles[COMPILED, 8] == whiles[PYTHON, 8] + 1  # the walk inside a round is a loop in both
    assert calls[PYTHON, 8] == 2 and calls[PYTHON, 16] == 4
    assert calls[COMPILED, 8] == calls[COMPILED, 16] == 1
    images = export.export_sampler(driffusion(model, PYTHON), SHAPE, COND, ["cpu"])
    noise, keys, cond = inputs()
    ours = images[0].call(images[1], noise, jax.random.key_data(keys), cond)
    np.testing.assert_allclose(
        ours, driffusion(model, PYTHON).sampler(noise, keys, cond), atol=1e-5
    )


def test_what_cannot_be_exported_is_refused(tmp_path):
    model = denoiser(DIT)
    with pytest.raises(UserError, match="driffusion-conservative-4 loops in Python until"):
        export.export_sampler(driffusion(model, PYTHON, refinements=2), SHAPE, COND)
    with pytest.raises(UserError, match="platform 'gpu': choose among cpu, cuda, rocm, tpu"):
        export.export_sampler(driffusion(model), SHAPE, COND, ["gpu"])
    with pytest.raises(UserError, match=r"sampler\.bin: the exported sampler's name must end"):
        export.save(tmp_path / "sampler.bin", driffusion(model), SHAPE, COND)
    with pytest.raises(UserError, match="no such file"):
        export.load(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK and no more")
    with pytest.raises(UserError, match=r"bad\.npz is not an exported sampler"):
        export.load(tmp_path / "bad.npz")
