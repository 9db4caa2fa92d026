# SPDX-License-Identifier: Apache-2.0
"""Training of RGB-D segmentation with a gate on the depth encoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from admn_ros.baselines.segmentation.costs import gate_macs, macs_by_choice
from admn_ros.baselines.segmentation.network import BLOCKS, CHOICES, RgbdSegmentation
from admn_ros.config import Positive
from admn_ros.errors import InputError
from admn_ros.scoring.segmentation import UNLABELLED, PixelScores, mean_iou
from admn_ros.training.data import LabeledBatch
from admn_ros.training.rivals.phases import Phase, PhasedConfig
from admn_ros.training.stage import Stage, Step, freeze


class SegmentationGateConfig(PhasedConfig):
    """Training of `RgbdSegmentation`. `random_epochs` equal to the epochs trains the network before its gate.

    Attributes:
        class_weights: weights of the classes in the loss; empty for equal ones.
        blocks: number of depth blocks that always run, for a static network; None for a network with a gate.
        joint: whether the network is trained together with the gate, as published.
    """

    class_weights: tuple[Positive, ...] = ()
    blocks: Annotated[int, Field(ge=0, le=BLOCKS)] | None = None
    joint: bool = True

    @model_validator(mode="after")
    def _phases_fit(self) -> SegmentationGateConfig:
        if self.random_epochs + self.hard_epochs > self.optimizer.epochs:
            raise ValueError(f"random_epochs {self.random_epochs} and hard_epochs {self.hard_epochs} must not exceed "
                             f"the {self.optimizer.epochs} epochs")
        if not self.joint and self.random_epochs + self.hard_epochs:
            raise ValueError("joint: false trains the gate alone, which excludes random_epochs and hard_epochs")
        return self


class SegmentationGate(Stage):
    """Training of gate and network on the cross-entropy of the pixels, plus lambda times the cost.

    The cost of a choice is its multiply-accumulate operations relative to those without depth.
    """

    name: ClassVar[str] = "segmentation"

    def __init__(self, network: RgbdSegmentation, config: SegmentationGateConfig) -> None:
        super().__init__(network)
        classes = len(network.config.classes)
        if config.class_weights and len(config.class_weights) != classes:
            raise InputError("class_weights", len(config.class_weights), f"{classes}, one for each class")
        self.network, self.config, self.gate_macs = network, config, gate_macs(network)
        self.macs = torch.tensor(macs_by_choice(network), dtype=torch.float64)
        self.weights = torch.tensor(config.class_weights) if config.class_weights else None
        # While choices are random, the gate gets no gradient, whether it is trained or not.
        freeze(network, [network] if config.joint else [network.gate])

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        """Return `pixels` and, while the gate is trained, `resource`, the price of the expected cost."""
        rgb, depth = self.network.inputs(batch.samples)
        phase = self.config.phase(step)
        if phase is Phase.GATE and self.config.blocks is None:
            weights = self.network.soft_weights(rgb, depth, self.config.tau_at(step))
            relative = (self.macs / self.macs[0]).to(weights)
            resource = self.config.price * (weights @ relative).mean()
            return {"pixels": self._pixel_loss(rgb, depth, weights, batch), "resource": resource}
        if self.config.blocks is not None:
            choice = torch.full((len(batch),), self.config.blocks, device=rgb.device)
        elif phase is Phase.RANDOM:
            choice = torch.randint(CHOICES, (len(batch),), generator=step.draws).to(rgb.device)
        else:
            with torch.no_grad():
                choice = self.network.choose(rgb, depth)
        return {"pixels": self._pixel_loss(rgb, depth, F.one_hot(choice, CHOICES).to(rgb), batch)}

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """Return mIoU and million operations as the network chooses, and the mIoU with the whole depth encoder."""
        classes = len(self.network.config.classes)
        chosen, whole, spent = PixelScores(classes), PixelScores(classes), []
        for batch in batches:
            rgb, depth = self.network.inputs(batch.samples)
            choice, truth = self.choose(rgb, depth), pixels_of(batch).cpu().numpy()
            for scores, blocks in ((chosen, choice), (whole, torch.full_like(choice, BLOCKS))):
                scores.add(truth, self.network.run(rgb, depth, blocks).argmax(dim=1).cpu().numpy())
            spent.append(self.macs[choice.cpu()] + (self.gate_macs if self.config.blocks is None else 0))
        return {"miou": float(mean_iou(chosen.confusion)), "whole/miou": float(mean_iou(whole.confusion)),
                "mmacs": float(torch.cat(spent).mean()) / 1e6}

    def choose(self, rgb: Tensor, depth: Tensor) -> Tensor:
        """Return the number of depth blocks of each sample (B,): that of the static network, or the gate's choice."""
        if self.config.blocks is None:
            return self.network.choose(rgb, depth)
        return torch.full((len(rgb),), self.config.blocks, device=rgb.device)

    def _pixel_loss(self, rgb: Tensor, depth: Tensor, weights: Tensor, batch: LabeledBatch) -> Tensor:
        logits = self.network.forward_train(rgb, depth, weights).float()
        balance = None if self.weights is None else self.weights.to(logits.device)
        return F.cross_entropy(logits, pixels_of(batch), balance, ignore_index=UNLABELLED)


def pixels_of(batch: LabeledBatch) -> Tensor:
    """Return the classes (B, H, W) of the pixels of a batch.

    Raises:
        InputError: the samples have no masks.
    """
    if batch.mask is None:
        raise InputError("masks", "none", "samples of a segmentation dataset")
    return batch.mask
