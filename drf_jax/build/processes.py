"""The noise process of a config and what its network predicts."""

from collections.abc import Mapping
from typing import Any

from drf_jax.config import choose, read, split_name
from drf_jax.process.pfgmpp import PFGMPP
from drf_jax.process.prediction import check_kind
from drf_jax.process.schedule import VE, CosineVP, LinearVP, Process, RectifiedFlow, ShiftedCosine
from drf_jax.process.table import Table

PROCESSES = {
    "cosine": CosineVP,
    "shifted_cosine": ShiftedCosine,
    "linear": LinearVP,
    "table": Table,
    "ve": VE,
    "pfgmpp": PFGMPP,
    "rectified_flow": RectifiedFlow,
}


def process(config: Mapping[str, Any]) -> Process:
    name, rest = split_name(config["process"], "config.process")
    return read(choose(PROCESSES, name, "config.process.name"), rest, "config.process")


def output(config: Mapping[str, Any]) -> str:
    check_kind(config["output"])
    return config["output"]
