# SPDX-License-Identifier: Apache-2.0
"""Unsupervised initialization of the controller's perceptual part by an autoencoder (Section 3.4.2, Figure 3)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from admn_ros.model.network import AdmnNetwork
from admn_ros.model.qoi import downsampled, look_shape
from admn_ros.sample import Modality
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.data import LabeledBatch
from admn_ros.training.seeding import DECODER, derive
from admn_ros.training.stage import Stage, StageConfig, Step, freeze

_DOUBLINGS = 3


class AutoencoderConfig(StageConfig):
    """Unsupervised initialization of the controller's perceptual part (Section 3.4.2).

    Attributes:
        channels: channels between the deconvolutions.
    """

    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-3, schedule="linear", final=0.001, epochs=100)
    channels: Annotated[int, Field(ge=1, le=4096)] = 32

    def make(self, network: AdmnNetwork) -> Autoencoder:
        """Set up the stage on a network, in place."""
        return Autoencoder(network, self)


class Decoder(nn.Module):
    """Deconvolutions from e_corr back to the downscaled inputs of one modality at all sensor nodes.

    Args:
        dim: width of e_corr.
        nodes: number of sensor nodes that the controller reads.
        channels: channels of the modality's input.
        size: rows and columns of the downscaled inputs.
        width: channels between the deconvolutions.
    """

    def __init__(self, dim: int, nodes: int, channels: int, size: tuple[int, int], width: int) -> None:
        super().__init__()
        self.shape, self.width = (nodes, channels, *size), width
        self.start = tuple(-(-side // 2**_DOUBLINGS) for side in size)
        self.spread = nn.Linear(dim, width * math.prod(self.start))
        self.layers = nn.Sequential(
            nn.ReLU(), nn.ConvTranspose2d(width, width, 4, stride=2, padding=1),
            nn.ReLU(), nn.ConvTranspose2d(width, width, 4, stride=2, padding=1),
            nn.ReLU(), nn.ConvTranspose2d(width, nodes * channels, 4, stride=2, padding=1))

    def forward(self, e_corr: Tensor) -> Tensor:
        """Decode e_corr (B, dim) to inputs (B, nodes, channels, rows, columns)."""
        small = self.spread(e_corr).view(-1, self.width, *self.start)
        _, _, rows, columns = self.shape
        picture: Tensor = self.layers(small)[:, :, :rows, :columns]
        return picture.reshape(-1, *self.shape)


class Autoencoder(Stage):
    """Reconstruction of the controller's downscaled inputs from e_corr.

    Trains the perceptual part (convolutions and transformer) and decoders that are discarded afterwards. The target is
    the input of the controller, corrupted as it is, at every present sensor node; the official code takes the first
    node only. The loss of each modality is divided by the variance of its batch, which balances the modalities.
    """

    name: ClassVar[str] = "autoencoder"

    def __init__(self, network: AdmnNetwork, config: AutoencoderConfig) -> None:
        self.network, model = network, network.config
        network.qoi.judged = False  # training changes what corruption is predicted from
        freeze(network, [network.qoi.stems, network.qoi.encoder])
        network.qoi.cls_token.requires_grad_(True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(config.optimizer.seed, DECODER))
            decoders = nn.ModuleDict({
                str(m): Decoder(model.qoi.dim, model.observed, c.input.shape[0], look_shape(model.qoi, m).size,
                                config.channels)
                for m, c in model.modalities.items()})
        self.decoders = decoders
        super().__init__(nn.ModuleDict({"network": network, "decoders": decoders}))

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        """Return the mean squared error over the present inputs of each modality, relative to their variance."""
        return self._errors(batch)

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """Return the same over the split. The mean image has error 1."""
        sums: dict[str, float] = {}
        count = 0
        for batch in batches:
            for name, value in self._errors(batch).items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(batch)
            count += len(batch)
        return {name: value / count for name, value in sums.items()}

    def qoi_trained(self, before: bool) -> bool:
        """Return False: the corruption output no longer fits the retrained perceptual part."""
        return False

    def _errors(self, batch: LabeledBatch) -> dict[str, Tensor]:
        e_corr = self.network.qoi.perceive(batch.samples)
        errors, seen = {}, batch.samples.first(self.network.config.observed)
        for modality, inputs in seen.inputs.items():
            target = self._small(modality, inputs)
            present = seen.present[modality]
            picture = self.decoders[str(modality)](e_corr).float()
            errors[f"picture_{modality}"] = _relative_error(picture, target, present)
        return errors

    def _small(self, modality: Modality, inputs: Tensor) -> Tensor:
        """Downscale (B, N, C, H, W) to (B, N, C, rows, columns), as the controller does."""
        size = look_shape(self.network.config.qoi, modality).size
        return downsampled(inputs.flatten(0, 1).float(), size).view(*inputs.shape[:3], *size)


def _relative_error(picture: Tensor, target: Tensor, present: Tensor) -> Tensor:
    """Return squared error over variance of the targets (B, N, C, H, W) where present (B, N); 0 if none is."""
    mask = present[:, :, None, None, None].to(target.dtype)
    values = mask.sum() * math.prod(target.shape[2:])
    mean = (target * mask).sum() / values.clamp_min(1)
    variance = ((target - mean).square() * mask).sum() / values.clamp_min(1)
    error = ((picture - target).square() * mask).sum() / values.clamp_min(1)
    return error / variance.clamp_min(1e-6)

