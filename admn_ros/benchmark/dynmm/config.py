# SPDX-License-Identifier: Apache-2.0
"""Configuration of the DynMM experiments: experts, prices, training."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from admn_ros.benchmark.tables.config import Effort, StudyConfig
from admn_ros.config import Count, NotNegative
from admn_ros.model.presets import preset
from admn_ros.sample import Modality
from admn_ros.sensing.corruption.presets import CORRUPTIONS
from admn_ros.training.config import Seed


class DynmmConfig(StudyConfig):
    """`config/dynmm.yaml`.

    Attributes:
        corruption: name of a corruption preset.
        experts: layers of each modality of each expert, the cheapest expert first.
        prices: values of lambda of the sweep, ascending; the loss of a frame that the cheapest expert answers.
        price: lambda of the ablation and of the decisions, one of `prices`.
        seeds: seeds of the ablation; the sweep has the first one.
        expert, gate: training of an expert alone, and of the gate with or without its experts.
    """

    corruption: str
    experts: Annotated[tuple[dict[Modality, Count], ...], Field(min_length=2)]
    prices: Annotated[tuple[NotNegative, ...], Field(min_length=2)]
    price: NotNegative
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    expert: Effort
    gate: Effort

    @field_validator("corruption")
    @classmethod
    def _corruption(cls, name: str) -> str:
        if name not in CORRUPTIONS:
            raise ValueError(f"must be one of {', '.join(CORRUPTIONS)}")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> DynmmConfig:
        if list(self.prices) != sorted(set(self.prices)):
            raise ValueError("prices must be ascending")
        if self.price not in self.prices:
            raise ValueError(f"price must be one of prices, {', '.join(f'{p:g}' for p in self.prices)}")
        depths = preset(self.model).depths
        for expert in self.experts:
            if not expert or not set(expert) <= set(depths):
                raise ValueError(f"experts must have modalities of {self.model}: {', '.join(map(str, depths))}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the experts, such as `rgb 2` or `rgb 4 + radar 4`."""
        return tuple(" + ".join(f"{m} {k}" for m, k in expert.items()) for expert in self.experts)

    @property
    def fingerprint(self) -> str:
        """Hash of all that a training depends on, but for what its name has: lambda and seed."""
        # Default values are left out, so that a new option does not invalidate trained networks.
        known = self.model_dump(mode="json", exclude={"notes", "prices", "price", "seeds"}, exclude_defaults=True)
        known["preset"] = preset(self.model).model_dump(mode="json", exclude_defaults=True)
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]
