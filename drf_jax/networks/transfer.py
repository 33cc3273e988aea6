"""Start a student, a drafter or a refiner as its teacher, parameter by parameter.

Names and shapes of the teacher's parameters recur in all of them (only the drafter's heads have
an extra leading axis), so the transfer is an overlay of trees. What the teacher doesn't have keeps
its own initial values, which are such that it changes nothing. Arrays are copied: a training step
may donate the student's parameters while the teacher's live on.
"""

import re

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from drf_jax.errors import UserError
from drf_jax.typing import Params

GUIDANCE = "embed/guidance/"
"""What a network with the backbone's ``guidance`` has besides; it starts at zero."""


def overlay(params: Params, source: Params, own: str) -> Params:
    """``params`` with the leaves of ``source`` in their places.

    Args:
      params: tree of nested dicts. source: tree whose every leaf must have a place of the same
      shape in ``params``. own: regular expression; a leaf of ``params`` that ``source`` lacks must
      match it (from the start of its path) and
        is kept.

    Raises:
      UserError: the first leaf, in order of paths, that doesn't fit, with both shapes.
    """
    ours, theirs = flatten_dict(params, sep="/"), flatten_dict(source, sep="/")
    for path in sorted({*ours, *theirs}):
        if path not in theirs and re.match(own, path):
            continue
        here = ours[path].shape if path in ours else "absent"
        there = theirs[path].shape if path in theirs else "absent"
        if here != there:
            raise UserError(
                f"checkpoint of another architecture: {path} is {there} there and {here} here"
            )
    copies = {path: jnp.array(leaf, ours[path].dtype) for path, leaf in theirs.items()}
    return unflatten_dict({**ours, **copies}, sep="/")


def student_from_teacher(params: Params, teacher_params: Params) -> Params:
    """``DenoisingNetwork`` parameters that give the teacher's output, whatever the guidance weight.

    Args:
      params: freshly initialised parameters of the student, which may have ``guidance``.
      teacher_params: parameters of the ``DenoisingNetwork`` with the same backbone otherwise.
    """
    return overlay(params, teacher_params, own=GUIDANCE)


def drafter_from_teacher(params: Params, teacher_params: Params, drafts: int) -> Params:
    """``DraftNetwork`` parameters whose every head gives the teacher's output.

    Args:
      params: freshly initialised parameters of the draft network.
      teacher_params: parameters of the ``DenoisingNetwork`` with the same backbone.
      drafts: number of heads K.
    """
    rest = {name: tree for name, tree in teacher_params.items() if name != "head"}
    source = {**rest, "heads": repeated(teacher_params["head"], drafts)}
    return overlay(params, source, own=f"targets/|{GUIDANCE}")


def target_drafter_from_teacher(params: Params, teacher_params: Params) -> Params:
    """``TargetDraftNetwork`` parameters that give the teacher's output, whatever the target.

    Args:
      params: freshly initialised parameters of the draft network.
      teacher_params: parameters of the ``DenoisingNetwork`` with the same backbone.
    """
    return overlay(params, teacher_params, own=f"target/|{GUIDANCE}")


def refiner_from_teacher(params: Params, teacher_params: Params) -> Params:
    """``RefineNetwork`` parameters that give the teacher's output for every draft.

    Args:
      params: freshly initialised parameters of the refine network.
      teacher_params: parameters of the ``DenoisingNetwork`` with the same backbone.
    """
    return overlay(params, teacher_params, own=rf"trunk/mix_\d+/|{GUIDANCE}")


def ahead_from_teacher(params: Params, teacher_params: Params, drafts: int) -> Params:
    """``AheadNetwork`` parameters that give the teacher's output for every draft, and the last one's for what follows.

    Of a ``CorrectingNetwork``: those that give the teacher's output at the anchor and correct nothing.

    Args:
      params: freshly initialised parameters of the network.
      teacher_params: parameters of the ``DenoisingNetwork`` with the same backbone.
      drafts: number of heads K that look ahead.
    """
    source = {**teacher_params, "ahead": repeated(teacher_params["head"], drafts)}
    return overlay(params, source, own=rf"trunk/mix_\d+/|^correction/|{GUIDANCE}")


def repeated(params: Params, drafts: int) -> Params:
    """With a leading axis of ``drafts`` copies."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (drafts, *leaf.shape)), params)
