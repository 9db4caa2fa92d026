# SPDX-License-Identifier: Apache-2.0
"""Results of the DynMM experiments at modality level."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from admn_ros.benchmark.dynmm.strategies import Strategy
from admn_ros.benchmark.dynmm.study import GateResults, GateTrial

FILE = "dynmm.json"


class Trial(GateTrial):
    """Figures of one network. Choices are the experts, in the order of the configuration.

    Attributes:
        kind: `expert` for an expert alone, or the training strategy of a gate.
        expert: name of the expert; None for a gate.
        error_cm, interval_cm: mean position error of frames with a car, and its 95 % interval by scene.
        error_by_damage_cm: mean error of the frames in which these modalities were damaged, as `shares_by_damage`.
        accuracy: share of right classes.
        gflops: mean operations of a frame, gate included.
        cost: mean cost C of the backbones that ran, relative to the cheapest expert.
    """

    kind: Literal["expert"] | Strategy
    expert: str | None = None
    error_cm: float
    interval_cm: tuple[float, float] | None = None
    error_by_damage_cm: dict[str, float] = Field(default={})
    accuracy: float
    gflops: float
    cost: float

    @property
    def network(self) -> tuple[object, ...]:
        """What identifies the trained network."""
        return *super().network, self.expert


class DynmmResults(GateResults[Trial]):
    """Content of `dynmm.json`.

    Attributes:
        format: version of the format.
        model: as in the configuration.
        experts: names of the experts.
        encoders: as in the configuration.
        costs: C of each expert relative to the first.
        constant_cm: mean error of the mean training position.
    """

    format: Literal["admn-dynmm-1"] = "admn-dynmm-1"
    model: str
    experts: tuple[str, ...]
    encoders: str | None = None
    costs: tuple[float, ...]
    constant_cm: float
