# SPDX-License-Identifier: Apache-2.0
"""Autoencoder that teaches the controller's perceptual part without labels (Section 3.4.2, Figure 3)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from admn_ros.model.network import AdmnNetwork
from admn_ros.training.config import AutoencoderConfig, StageName
from admn_ros.training.data import LabeledBatch
from admn_ros.training.seeding import DECODER, derive
from admn_ros.training.stage import Stage, Step, freeze

_DOUBLINGS = 3


class Decoder(nn.Module):
    """Deconvolutions from e_corr back to the small pictures of one modality at all sensor nodes.

    Args:
        dim: of e_corr.
        nodes, channels: of the modality's inputs.
        size: side of the small pictures.
        width: channels between.
    """

    def __init__(self, dim: int, nodes: int, channels: int, size: int, width: int) -> None:
        super().__init__()
        self.shape, self.width, self.side = (nodes, channels, size, size), width, -(-size // 2**_DOUBLINGS)
        self.spread = nn.Linear(dim, width * self.side**2)
        self.layers = nn.Sequential(
            nn.ReLU(), nn.ConvTranspose2d(width, width, 4, stride=2, padding=1),
            nn.ReLU(), nn.ConvTranspose2d(width, width, 4, stride=2, padding=1),
            nn.ReLU(), nn.ConvTranspose2d(width, nodes * channels, 4, stride=2, padding=1))

    def forward(self, e_corr: Tensor) -> Tensor:
        """(B, dim) to (B, nodes, channels, size, size)."""
        small = self.spread(e_corr).view(-1, self.width, self.side, self.side)
        size = self.shape[-1]
        picture: Tensor = self.layers(small)[:, :, :size, :size]
        return picture.reshape(-1, *self.shape)


class Autoencoder(Stage):
    """Reconstruction of the controller's small inputs from e_corr.

    Trained are the perceptual part (convolutions, transformer) and decoders that are thrown away. The target is
    what the controller sees, corrupted as it is, at every present sensor node; the official code takes the
    first node's alone. The loss of each modality is divided by the variance of its batch, so that none drowns.
    """

    name: ClassVar[StageName] = "autoencoder"

    def __init__(self, network: AdmnNetwork, config: AutoencoderConfig) -> None:
        self.network, model = network, network.config
        network.qoi.judged = False  # what corruption is read from changes
        freeze(network, [network.qoi.look, network.qoi.encoder])
        network.qoi.cls_token.requires_grad_(True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(config.optimizer.seed, DECODER))
            decoders = nn.ModuleDict({
                str(m): Decoder(model.qoi.dim, len(model.sensor_nodes), c.input.shape[0], model.qoi.size,
                                config.channels)
                for m, c in model.modalities.items()})
        self.decoders = decoders
        super().__init__(nn.ModuleDict({"network": network, "decoders": decoders}))

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        """Mean squared error per modality over its present inputs, as a share of their variance."""
        return self._errors(batch)

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """The same over the split; 1 is what the mean picture gives, 0 is perfect."""
        sums: dict[str, float] = {}
        count = 0
        for batch in batches:
            for name, value in self._errors(batch).items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(batch)
            count += len(batch)
        return {name: value / count for name, value in sums.items()}

    def _errors(self, batch: LabeledBatch) -> dict[str, Tensor]:
        e_corr = self.network.qoi.perceive(batch.samples)
        errors = {}
        for modality, inputs in batch.samples.inputs.items():
            target = self._small(inputs)
            present = batch.samples.present[modality]
            picture = self.decoders[str(modality)](e_corr).float()
            errors[f"picture_{modality}"] = _relative_error(picture, target, present)
        return errors

    def _small(self, inputs: Tensor) -> Tensor:
        """(B, N, C, H, W) to (B, N, C, size, size), as the controller makes them."""
        size = self.network.config.qoi.size
        small = F.interpolate(inputs.flatten(0, 1).float(), (size, size), mode="bilinear", align_corners=False,
                              antialias=True)
        return small.view(*inputs.shape[:3], size, size)


def _relative_error(picture: Tensor, target: Tensor, present: Tensor) -> Tensor:
    """Squared error over variance of the targets (B, N, C, S, S) where present (B, N); 0 where nothing is."""
    mask = present[:, :, None, None, None].to(target.dtype)
    values = mask.sum() * math.prod(target.shape[2:])
    mean = (target * mask).sum() / values.clamp_min(1)
    variance = ((target - mean).square() * mask).sum() / values.clamp_min(1)
    error = ((picture - target).square() * mask).sum() / values.clamp_min(1)
    return error / variance.clamp_min(1e-6)

