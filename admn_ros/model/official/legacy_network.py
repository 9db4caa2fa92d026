# SPDX-License-Identifier: Apache-2.0
"""A network that computes what the official ADMN release computes, with our interface."""

from __future__ import annotations

from typing import Literal, cast

from torch import nn

from admn_ros.budget.costs import LayerCosts
from admn_ros.config import ModelConfig, Strict
from admn_ros.model.frame_parts import count_flops
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.official.legacy_head import (
    CorruptionHead,
    LegacyController,
    LegacyFrameController,
    LegacyLocalizationHead,
    NoClassification,
    NoLocalization,
)

LEGACY_NORM_EPS = 1e-5
"""PyTorch's default, which the official networks have everywhere; MAE and ours have 1e-6."""

Layout = Literal["gdtm", "mmfi", "ave"]


class LegacyConfig(Strict):
    """`legacy.yaml`: in what a model folder differs from a model of ours.

    layout: whose official network it is.
    corruption: what its controller was taught to name.
    controller: whether the checkpoint had one; without it the scores of the layers are random.
    """

    format: Literal["admn-legacy-1"] = "admn-legacy-1"
    layout: Layout
    corruption: CorruptionHead
    controller: bool


class LegacyNetwork(AdmnNetwork):
    """`AdmnNetwork` with the parts of the official release in the place of ours.

    GDTM localizes and does not classify; MM-Fi and AVE classify and do not localize.
    """

    def __init__(self, config: ModelConfig, legacy: LegacyConfig) -> None:
        super().__init__(config)
        self.legacy = legacy
        dim, classes = config.fusion.dim, len(config.classes)
        frames = legacy.layout == "mmfi"
        self.qoi = (LegacyFrameController if frames else LegacyController)(config, legacy.corruption)
        localizes = legacy.layout == "gdtm"
        # Modules of other types than ours, with the same inputs and outputs.
        self._modules["localization"] = LegacyLocalizationHead(dim) if localizes \
            else NoLocalization(config.localization)
        self._modules["classification"] = NoClassification(classes) if localizes else nn.Linear(dim, classes)
        if frames:
            for adapter in self.adapters.values():
                cast(nn.Sequential, adapter)[1] = nn.ReLU()
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = LEGACY_NORM_EPS

    def flop_costs(self) -> LayerCosts:
        """Return the floating-point operations of each part, counted on the modules.

        Exact, except for MM-Fi's controller: it reads the first three frames. If more than three frames are present
        and one of the first three is missing, the count is too high.
        """
        return count_flops(self)
