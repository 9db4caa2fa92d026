# SPDX-License-Identifier: Apache-2.0
"""Network of the official ADMN release, with the interface of `AdmnNetwork`."""

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
"""Epsilon of the official layer norms (PyTorch's default); MAE and this package use 1e-6."""

Layout = Literal["gdtm", "mmfi", "ave"]


class LegacyConfig(Strict):
    """Differences of an official network from a network of this package (`legacy.yaml`).

    Attributes:
        format: version of the format.
        layout: dataset of the official network.
        corruption: kind of the controller's corruption head.
        controller: whether the checkpoint had a controller; otherwise the layer scores are random.
    """

    format: Literal["admn-legacy-1"] = "admn-legacy-1"
    layout: Layout
    corruption: CorruptionHead
    controller: bool


class LegacyNetwork(AdmnNetwork):
    """`AdmnNetwork` with heads and controller of the official release.

    The GDTM network only localizes; those of MM-Fi and AVE only classify.
    """

    def __init__(self, config: ModelConfig, legacy: LegacyConfig) -> None:
        super().__init__(config)
        self.legacy = legacy
        dim, classes = config.fusion.dim, len(config.classes)
        frames = legacy.layout == "mmfi"
        self.qoi = (LegacyFrameController if frames else LegacyController)(config, legacy.corruption)
        localizes = legacy.layout == "gdtm"
        # Modules of other types, with the same inputs and outputs.
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
