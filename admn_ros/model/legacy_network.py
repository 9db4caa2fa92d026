# SPDX-License-Identifier: Apache-2.0
"""A network that computes what the official ADMN release computes, with our interface."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from admn_ros.config import ModelConfig, Strict, dump_config, load_config
from admn_ros.errors import ModelError
from admn_ros.model.checkpoint import CONFIG, WEIGHTS, save_model
from admn_ros.model.legacy_head import (
    CorruptionHead,
    LegacyController,
    LegacyFrameController,
    LegacyLocalizationHead,
    NoClassification,
    NoLocalization,
)
from admn_ros.model.network import AdmnNetwork

LEGACY = "legacy.yaml"
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


def save_legacy(network: LegacyNetwork, folder: str | Path, card: str) -> None:
    """Write a model folder with `legacy.yaml`.

    Raises:
        ModelError: the folder cannot be written.
    """
    save_model(network, folder, card)
    dump_config(network.legacy, Path(folder) / LEGACY)


def load_legacy(folder: str | Path, device: str | torch.device = "cpu") -> LegacyNetwork:
    """Read a model folder that has `legacy.yaml`. The network is in evaluation mode.

    Raises:
        ModelError: a file is missing or broken, or the weights do not fit the configuration.
        ConfigError: a configuration is malformed.
    """
    folder = Path(folder)
    for name in (CONFIG, WEIGHTS, LEGACY):
        if not (folder / name).exists():
            raise ModelError(str(folder / name), "nothing", f"a file; this folder has {CONFIG}, {WEIGHTS} and {LEGACY}")
    network = LegacyNetwork(load_config(ModelConfig, folder / CONFIG), load_config(LegacyConfig, folder / LEGACY))
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(str(folder / WEIGHTS), reason, f"the weights that {CONFIG} and {LEGACY} describe") from error
    return network.to(device).eval()
