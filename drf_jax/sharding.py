"""Devices: one mesh with three axes, and rules that say how each array is laid out on it.

The mesh axes are ``data`` (examples), ``draft`` (the drafted states of a round) and ``model``. A
batch is split over ``("data", "draft")`` together, because in training both only hold examples.
Parameters and optimizer state follow *rules*: pairs ``(regular expression, rule)``, tried in order
with ``re.search`` on the leaf's path (``params/Dense_0/kernel``); the first match decides, and a
leaf that nothing matches is replicated. A rule is a ``PartitionSpec`` or a function ``(shape,
mesh) -> PartitionSpec``:

    rules = [("opt_state|ema", fsdp()), ("Dense_0/kernel", P(None, "model")), ("", replicate)]

Rules change where numbers live, never what they are: every program is written for the global
arrays (GSPMD, https://arxiv.org/abs/2105.04663; fully sharded data parallelism is ZeRO,
https://arxiv.org/abs/1910.02054).
"""

import math
import re
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree, Shaped

from drf_jax.errors import UserError

AXES = ("data", "draft", "model")
BATCH = P(("data", "draft"))

Rule = Callable[[tuple[int, ...], Mesh], P]
Rules = Sequence[tuple[str, P | Rule]]


def make_mesh(
    data: int = -1, draft: int = 1, model: int = 1, devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """A mesh of all ``devices`` (default: those of every process); one size may be -1, the rest.

    Raises:
      UserError: the three sizes cannot use exactly these devices.
    """
    devices = jax.devices() if devices is None else list(devices)
    sizes = (data, draft, model)
    known = math.prod(size for size in sizes if size != -1)
    valid = all(size == -1 or size > 0 for size in sizes) and sizes.count(-1) <= 1
    if valid and -1 in sizes and len(devices) % known == 0:
        sizes = tuple(len(devices) // known if size == -1 else size for size in sizes)
    if not valid or math.prod(sizes) != len(devices):
        raise UserError(
            f"mesh: data={data} x draft={draft} x model={model} does not make {len(devices)}"
            " devices; their product must, and one of them may be -1 for the rest"
        )
    # As `jax.make_mesh`, which on TPUs other than v5e refuses axes that are no whole sides of the torus.
    grid = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * 3)


def replicate(shape: tuple[int, ...], mesh: Mesh) -> P:
    """The rule: a full copy on every device."""
    del shape, mesh
    return P()


def fsdp(axis: str = "data", min_size: int = 2**16) -> Rule:
    """The rule: split the largest dimension that ``axis`` divides.

    Arrays below ``min_size`` elements, and those that ``axis`` does not divide, are replicated.
    """

    def rule(shape: tuple[int, ...], mesh: Mesh) -> P:
        if math.prod(shape) < min_size:
            return P()
        divisible = [d for d, size in enumerate(shape) if size and size % mesh.shape[axis] == 0]
        if not divisible:
            return P()
        best = max(divisible, key=lambda d: shape[d])
        return P(*(axis if d == best else None for d in range(len(shape))))

    return rule


LAYOUTS: dict[str, Rules] = {
    "replicate": (),
    "fsdp": (("embedding$", P()), ("", fsdp())),
    "tensor": (
        ("mlp_in/kernel", P(None, "model")),
        ("mlp_in/bias", P("model")),
        ("mlp_out/kernel", P("model", None)),
    ),
}
"""Ways to lay out parameters, their average and the optimizer's state: whole on every device; each large array but
look-up tables split over ``data``; a transformer's MLPs split over ``model`` (Shoeybi et al., Megatron-LM, https://arxiv.org/abs/1909.08053:
one all-reduce for each MLP and direction) and the rest whole."""


def without_batch(spec: P) -> P:
    """The layout that is left when what is split over ``data`` or ``draft`` is gathered."""
    keep = lambda axes: tuple(axis for axis in axes if axis not in ("data", "draft"))
    split = (() if axes is None else (axes,) if isinstance(axes, str) else axes for axes in spec)
    return P(*(keep(axes) or None for axes in split))


def gather(tree: PyTree) -> PyTree:
    """Inside a compiled program under ``jax.set_mesh``: the tree whole on every device; without a mesh, as it is."""
    if jax.sharding.get_abstract_mesh().empty:
        return tree
    return jax.lax.with_sharding_constraint(tree, P())


def infer_shardings(tree: PyTree, mesh: Mesh, rules: Rules) -> PyTree:
    """The ``NamedSharding`` of each leaf of a tree of arrays or ``jax.ShapeDtypeStruct``.

    Raises:
      UserError: an explicit ``PartitionSpec`` does not fit the leaf that it matched.
    """

    def sharding(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        rule = next((rule for pattern, rule in rules if re.search(pattern, name)), replicate)
        spec = rule if isinstance(rule, P) else rule(tuple(leaf.shape), mesh)
        try:
            result = NamedSharding(mesh, spec)
            result.shard_shape(tuple(leaf.shape))
        except (ValueError, IndexError) as error:
            sizes = ", ".join(f"{axis}={size}" for axis, size in mesh.shape.items())
            raise UserError(
                f"sharding: {spec} does not fit {name} of shape {tuple(leaf.shape)}"
                f" on the mesh {sizes}"
            ) from error
        return result

    return jax.tree_util.tree_map_with_path(sharding, tree)


def shard_tree(tree: PyTree, mesh: Mesh, rules: Rules = ()) -> PyTree:
    """Put a tree, the same on every process, on the mesh; e.g. frozen parameters."""
    return jax.device_put(tree, infer_shardings(tree, mesh, rules))


def shard_batch(batch: PyTree[Shaped[np.ndarray, "b ..."]], mesh: Mesh) -> PyTree[jax.Array]:
    """The global batch, split over ``("data", "draft")``, from each process's own rows ``b``.

    Raises:
      UserError: this process's devices do not divide ``b``.
    """
    sharding = NamedSharding(mesh, BATCH)
    shards = mesh.local_mesh.shape["data"] * mesh.local_mesh.shape["draft"]

    def put(leaf):
        if leaf.shape[0] % shards:
            raise UserError(
                f"batch: {leaf.shape[0]} examples cannot be split over data x draft = {shards}"
                f" devices; use a multiple of {shards}"
            )
        return jax.make_array_from_process_local_data(sharding, leaf)

    return jax.tree.map(put, batch)
