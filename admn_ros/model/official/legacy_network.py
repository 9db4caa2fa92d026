# SPDX-License-Identifier: Apache-2.0
"""Network of the official ADMN release, with the interface of `AdmnNetwork`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from admn_ros.budget.costs import LayerCosts
from admn_ros.config import ModelConfig, Strict
from admn_ros.model.evidence import Evidence
from admn_ros.model.frame_parts import count_flops
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.model.official.legacy_head import (
    CorruptionHead,
    LegacyController,
    LegacyFrameController,
    LegacyLocalizationHead,
    NoClassification,
    NoLocalization,
)
from admn_ros.model.presets import preset
from admn_ros.model.qoi import QoiEncoder
from admn_ros.sample import Modality

LEGACY_NORM_EPS = 1e-5
"""Epsilon of the official layer norms (PyTorch's default); MAE and this package use 1e-6."""

Layout = Literal["gdtm", "mmfi", "ave"]


class LegacyConfig(Strict):
    """Differences of an official network from a network of this package (`legacy.yaml`).

    Attributes:
        format: version of the format.
        layout: dataset of the official network.
        corruption: kind of the controller's corruption head.
        controller: whether the checkpoint had a controller; otherwise the layers are spread evenly.
        own: whether the controller is one of this package, which a training has put in the place of the official one.
    """

    format: Literal["admn-legacy-1"] = "admn-legacy-1"
    layout: Layout
    corruption: CorruptionHead
    controller: bool
    own: bool = False


class LegacyNetwork(AdmnNetwork):
    """`AdmnNetwork` with heads and controller of the official release.

    The GDTM network only localizes; those of MM-Fi and AVE only classify.

    The release never removes a token from its fusion: a modality without layers still has one per sensor node, which is
    the same for every input, because only the class token is read and no layer mixes it with the patches. An input that
    did not run, for want of layers or of a reading, has this token here too.
    """

    constant_tokens: Tensor
    constant_slots: Tensor

    def __init__(self, config: ModelConfig, legacy: LegacyConfig) -> None:
        super().__init__(config)
        self.legacy = legacy
        dim, classes = config.fusion.dim, len(config.classes)
        frames = legacy.layout == "mmfi"
        if not legacy.own:
            kind = LegacyFrameController if frames else LegacyController
            self.qoi = kind(config, legacy.corruption, there=legacy.controller)
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
        # Stored, not computed per frame, so that a modality without layers costs nothing.
        slots = [m is not Modality.AUDIO or node == 0 for m in config.modalities for node in range(self.nodes)]
        self.register_buffer("constant_slots", torch.tensor(slots), persistent=False)
        self.register_buffer("constant_tokens", torch.zeros(len(slots), dim), persistent=False)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights as `torch.nn.Module.load_state_dict`, and compute the constant tokens from them."""
        found = super().load_state_dict(state_dict, strict, assign)
        self.store_constants()
        return found

    @torch.no_grad()
    def store_constants(self) -> None:
        """Compute the tokens of inputs that do not run from the present weights."""
        tokens = []
        for modality in self.config.modalities:
            vit = self.backbone(modality)
            token = self.adapters[str(modality)](vit.readout(vit.cls_token + vit.pos_embed[:, :1], None))
            tokens.append(token.expand(self.nodes, -1))
        self.constant_tokens.copy_(torch.cat(tokens))

    def use_own_controller(self) -> None:
        """Put an untrained controller of this package, of the preset's size, in the place of the official one."""
        qoi = preset(self.legacy.layout).qoi
        observed = None if qoi.observed is None else min(qoi.observed, self.nodes)
        self.config = self.config.model_copy(update={
            "qoi": qoi.model_copy(update={"observed": observed}), "qoi_trained": False})
        self.legacy = self.legacy.model_copy(update={"own": True})
        self.qoi = QoiEncoder(self.config).to(self.constant_tokens.device)

    def fuse_uncalibrated(self, tokens: Tensor, present: Tensor,
                          poses: Tensor | None = None) -> tuple[NetworkOutput, Evidence | None]:
        """Fuse as `AdmnNetwork.fuse_uncalibrated`, with constant tokens in the place of absent ones.

        A spectrogram belongs to the first frame; the release has no token of sound for the others.
        """
        tokens = torch.where(present[..., None], tokens, self.constant_tokens.to(tokens.dtype))
        return super().fuse_uncalibrated(tokens, present | self.constant_slots, poses)

    def flop_costs(self) -> LayerCosts:
        """Return the floating-point operations of each part, counted on the modules.

        Exact, except for MM-Fi's controller: it reads the first three frames. If more than three frames are present
        and one of the first three is missing, the count is too high.
        """
        return count_flops(self)
