# SPDX-License-Identifier: Apache-2.0
"""Configuration of the DynMM experiments at modality level."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from admn_ros.benchmark.dynmm.study import GateStudy
from admn_ros.benchmark.tables.config import Effort
from admn_ros.config import Count, Positive
from admn_ros.model.presets import preset
from admn_ros.sample import Modality


class DynmmConfig(GateStudy):
    """`config/dynmm.yaml`.

    Attributes:
        experts: layers of each modality of each expert, the cheapest expert first.
        expert: training of an expert alone.
        encoders: trained model, a folder or the name of a shipped one, whose backbones the experts start from, alone
            and in one stage; None for random weights. The other parts always start from random weights.
        expert_rate: learning rate of the experts relative to that of the gate in the second of two stages.
    """

    experts: Annotated[tuple[dict[Modality, Count], ...], Field(min_length=2)]
    expert: Effort
    encoders: str | None = None
    expert_rate: Positive = 1.0

    @model_validator(mode="after")
    def _experts_fit(self) -> DynmmConfig:
        depths = preset(self.model).depths
        for expert in self.experts:
            if not expert or not set(expert) <= set(depths):
                raise ValueError(f"experts must have modalities of {self.model}: {', '.join(map(str, depths))}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the experts, such as `rgb 2` or `rgb 4 + radar 4`."""
        return tuple(" + ".join(f"{m} {k}" for m, k in expert.items()) for expert in self.experts)
