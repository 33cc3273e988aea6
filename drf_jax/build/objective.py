"""The teacher's objective of a config."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from drf_jax.build.processes import output, process
from drf_jax.config import choose, read
from drf_jax.data.conditioning import null_of
from drf_jax.errors import UserError
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.objectives.denoising import Denoising
from drf_jax.process.time import TIME_DISTRIBUTIONS
from drf_jax.process.weighting import WEIGHTINGS


@dataclasses.dataclass(frozen=True)
class Objective:
    weighting: str = "v"
    times: str = "stratified"
    cond_dropout: float = 0.0

    def __post_init__(self):
        if not 0 <= self.cond_dropout <= 1:
            raise UserError(
                f"config.objective.cond_dropout = {self.cond_dropout}: must be from 0 to 1"
            )


def denoising(config: Mapping[str, Any], network: DenoisingNetwork) -> Denoising:
    if "label_dropout" in config["objective"]:
        raise UserError(
            "config.objective.label_dropout is now called config.objective.cond_dropout"
        )
    spec = read(Objective, config["objective"], "config.objective")
    return Denoising(
        network=network,
        process=process(config),
        output=output(config),
        weighting=choose(WEIGHTINGS, spec.weighting, "config.objective.weighting"),
        times=choose(TIME_DISTRIBUTIONS, spec.times, "config.objective.times"),
        dropout=spec.cond_dropout,
        null=null_of(network.backbone),
    )


def measured(objective: Denoising) -> Denoising:
    """The objective as a held-out loss: in float32, and with all of the conditioning."""
    backbone = objective.network.backbone
    exact = dataclasses.replace(backbone, dtype="float32", attention_backend="xla")
    return dataclasses.replace(objective, network=DenoisingNetwork(exact), dropout=0.0)
