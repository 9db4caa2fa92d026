# SPDX-License-Identifier: Apache-2.0
"""What a stage tells the loop: which weights it trains, its loss, and how it is validated."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from admn_ros.errors import ConfigError
from admn_ros.training.data import LabeledBatch


@dataclass(frozen=True)
class Step:
    """Where a run is, and its randomness.

    epoch, epochs: from 0, and how many there are.
    draws: generator on the CPU, for choices. noise: generator on the device of the network.
    """

    epoch: int
    epochs: int
    draws: torch.Generator
    noise: torch.Generator


class Stage(ABC):
    """A stage of training. Weights with `requires_grad` are trained; all others stay as they are."""

    name: ClassVar[str]

    def __init__(self, module: nn.Module) -> None:
        # Evaluation mode for good: nothing here behaves otherwise in training, and frozen statistics stay frozen.
        self.module = module.eval()

    @abstractmethod
    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        """Weighted parts of the loss of a batch, scalars; their sum is what is minimised."""

    @abstractmethod
    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """Figures of the validation split, by name. Runs without gradients."""

    def trainable(self) -> dict[str, nn.Parameter]:
        """Weights that are trained, by name.

        Raises:
            ConfigError: there are none.
        """
        found = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        if not found:
            raise ConfigError(self.name, "no weights to train", "at least one")
        return found

    def fingerprint(self) -> str:
        """Hash of all weights that are not trained: a run can only go on with the same ones."""
        digest = hashlib.sha256()
        trained = self.trainable()
        for name, value in self.module.state_dict().items():
            if name not in trained:
                digest.update(name.encode())
                digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def freeze(module: nn.Module, but: Iterable[nn.Module] = ()) -> None:
    """Take all weights of a module out of training, but those of the given parts."""
    module.requires_grad_(False)
    for part in but:
        part.requires_grad_(True)
