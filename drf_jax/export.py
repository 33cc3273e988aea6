"""A sampler as one file that runs without this library: StableHLO (`jax.export`) and the networks' parameters.

`save` writes ``NAME.npz`` with the arrays ``program`` (the serialised program) and ``p0 … pN`` (the parameters), and
``NAME.json``, which says what goes in and comes out. What is in the file needs jax, numpy and flatbuffers only:

    stored = numpy.load("NAME.npz")
    program = jax.export.deserialize(bytearray(stored["program"]))
    params = jax.device_put([stored[f"p{i}"] for i in range(len(stored.files) - 1)])
    images = jax.jit(program.call)(params, noise, keys, cond)

``noise`` ``[b, *state]`` is standard normal, ``keys`` ``[b, 2]`` (uint32, ``jax.random.key_data``) matter to stochastic
samplers only, ``cond`` is a dict. The batch is fixed. For how long jax runs such a program, see its documentation of
compatibility.

A sampler's rounds are exported as they loop: a compiled loop stays one, whatever the number of rounds; a Python loop is
unrolled. XLA's CPU backend runs convolutions in a compiled loop some 20 times slower, so a convolutional network that
is to run on CPUs wants a sampler with the Python loop. That is what `drf export` makes on a machine without accelerator
(or with ``JAX_PLATFORMS=cpu``); a sampler whose number of refinements depends on the sample cannot be unrolled.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.export import Exported

from drf_jax.atomic import replacing
from drf_jax.distinct import distinct
from drf_jax.errors import UserError
from drf_jax.sampling.method import Method

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def storable(leaf: jax.Array) -> np.ndarray:
    """An array as npz files can hold it: bfloat16 as its bits."""
    host = np.asarray(leaf)
    return host.view(np.uint16) if host.dtype == jnp.bfloat16 else host


def export_sampler(
    method: Method,
    shape: Sequence[int],
    cond: Mapping[str, np.ndarray],
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
) -> tuple[Exported, list[np.ndarray]]:
    """The program ``(params, noise, keys, cond) -> images`` and its ``params``.

    Args:
      method: what to export; the loop it was built with decides whether its rounds are unrolled.
      shape: of the noise, batch first.
      cond: conditioning of a batch, for its shapes.
      platforms: where it is to run, of ``PLATFORMS``.

    Raises:
      UserError: unknown platform, or the sampler cannot be unrolled.
    """
    for name in platforms:
        if name not in PLATFORMS:
            raise UserError(f"platform {name!r}: choose among {', '.join(PLATFORMS)}")
    chosen, rebuild = distinct(method.sampler)
    leaves = jax.tree.leaves(method.sampler)
    dtypes = [jnp.result_type(leaves[i]) for i in chosen]
    params = [storable(leaves[i]) for i in chosen]

    def run(params, noise, keys, cond):
        read = lambda leaf, dtype: (
            leaf if leaf.dtype == dtype else jax.lax.bitcast_convert_type(leaf, dtype)
        )
        sampler = rebuild([*map(read, params, dtypes)])
        return sampler(noise, jax.random.wrap_key_data(keys), cond)

    specs = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), jnp.result_type(leaf)),
        (params, np.zeros(shape, np.float32), np.zeros((shape[0], 2), np.uint32), dict(cond)),
    )
    try:
        return jax.export.export(jax.jit(run), platforms=tuple(platforms))(*specs), params
    except jax.errors.TracerBoolConversionError:
        raise UserError(
            f"{method.name} loops in Python until each sample is done, which cannot be unrolled: "
            "export it with the compiled loop, or with refinements = 1 and no tolerance"
        ) from None


def describe(exported: Exported) -> dict[str, Any]:
    """Shapes and types of what goes in (but for the parameters) and comes out."""
    spec = lambda leaf: {"shape": list(leaf.shape), "dtype": str(leaf.dtype)}
    args, _ = jax.tree.unflatten(exported.in_tree, exported.in_avals)
    noise, keys, cond = (jax.tree.map(spec, arg) for arg in args[1:])
    (out,) = exported.out_avals
    return {"inputs": {"noise": noise, "keys": keys, "cond": cond}, "output": spec(out)}


def save(
    path: str | Path,
    method: Method,
    shape: Sequence[int],
    cond: Mapping[str, np.ndarray],
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write ``path`` (.npz) and the JSON beside it, which is returned; ``facts`` go into it.

    Raises:
      UserError: the name does not end in .npz, or as `export_sampler` does.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise UserError(f"{path}: the exported sampler's name must end in .npz")
    exported, params = export_sampler(method, shape, cond, platforms)
    program = np.frombuffer(exported.serialize(), np.uint8)
    with replacing(path) as file:
        np.savez(file, program=program, **{f"p{i}": leaf for i, leaf in enumerate(params)})
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    card = {
        "file": path.name,
        "sha256": digest,
        "method": method.name,
        "sequential_calls": method.sequential_calls,
        "network_evaluations": method.network_evaluations,
        "platforms": list(exported.platforms),
        "jax": jax.__version__,
        "parameters": sum(leaf.size for leaf in params),
        "program_bytes": program.size,
        **describe(exported),
        **(facts or {}),
    }
    with replacing(path.with_suffix(".json")) as file:
        file.write((json.dumps(card, indent=1) + "\n").encode())
    return card


def load(path: str | Path) -> Callable[..., jax.Array]:
    """``(noise, keys, cond) -> images`` of a saved sampler.

    Raises:
      UserError: there is no such file, or it is not an exported sampler.
    """
    try:
        with np.load(path) as stored:
            program = jax.export.deserialize(bytearray(stored["program"]))
            params = jax.device_put([stored[f"p{i}"] for i in range(len(stored.files) - 1)])
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; drf export writes it") from None
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is not an exported sampler: {error}") from None
    return jax.tree_util.Partial(jax.jit(program.call), params)
