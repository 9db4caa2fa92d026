# SPDX-License-Identifier: Apache-2.0
"""Interface of a training stage: its configuration, trained weights, loss and validation.

A new stage is a `StageConfig` and a `Stage` in one file of `admn_ros.training.stages`, and one field of
`admn_ros.training.settings.TrainConfig`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from admn_ros.config import ModelConfig, Strict
from admn_ros.errors import ConfigError
from admn_ros.model.network import AdmnNetwork
from admn_ros.training.config import DataConfig, OptimizerConfig
from admn_ros.training.data import LabeledBatch, Samples
from admn_ros.training.sources import open_samples


@dataclass(frozen=True)
class Step:
    """Position in a run, and its random generators.

    Attributes:
        epoch: current epoch, from 0.
        epochs: number of epochs of the run.
        draws: generator on the CPU for discrete choices; the same in all processes.
        noise: generator on the network's device; different in each process.
    """

    epoch: int
    epochs: int
    draws: torch.Generator
    noise: torch.Generator


class Stage(ABC):
    """A training stage. Weights with `requires_grad` are trained; all others stay as they are.

    Args:
        module: all weights of the stage, trained or not.
    """

    name: ClassVar[str]
    trains_estimates: ClassVar[bool] = False
    """Whether the estimates of a network are meaningful after this stage even if they were not before."""

    def __init__(self, module: nn.Module) -> None:
        # No layer behaves differently in training, and frozen statistics must stay frozen.
        self.module = module.eval()

    @abstractmethod
    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        """Return the weighted parts of the loss of a batch, scalars. Their sum is minimized."""

    @abstractmethod
    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """Return the metrics of the validation split by name. The loop disables gradients."""

    def finish(self, folder: Path) -> None:  # noqa: B027 (an optional hook)
        """Do what remains after the last epoch, in the first process.

        Args:
            folder: folder of the run.

        Raises:
            InputError: a file cannot be written.
        """

    def qoi_trained(self, before: bool) -> bool:
        """Return whether the network's quality of information is trained after this stage.

        Args:
            before: whether it was trained before.
        """
        return before

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the trained weights by name.

        Raises:
            ConfigError: there are none.
        """
        found = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        if not found:
            raise ConfigError(self.name, "no weights to train", "at least one")
        return found

    def rate_share(self, name: str) -> float:
        """Return the learning rate of a weight relative to that of the run."""
        return 1.0

    def fingerprint(self) -> str:
        """Hash all weights that are not trained. A run can only be resumed with the same ones."""
        digest = hashlib.sha256()
        trained = self.trainable()
        for name, value in self.module.state_dict().items():
            if name not in trained:
                digest.update(name.encode())
                digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


class StageConfig(Strict):
    """Configuration of a stage.

    Attributes:
        optimizer: optimizer, schedule and seed.
    """

    from_preset: ClassVar[bool] = False
    """Whether the stage can start from random weights; otherwise it needs the model folder of an earlier stage."""

    optimizer: OptimizerConfig = OptimizerConfig()

    @abstractmethod
    def make(self, network: AdmnNetwork) -> Stage:
        """Set up the stage on a network, in place.

        Raises:
            ConfigError: the configuration does not fit the network.
        """

    def open_samples(self, data: DataConfig, model: ModelConfig) -> tuple[Samples, Samples]:
        """Open the training and validation samples of the stage.

        Raises:
            ConfigError: no folder is named, or the data do not fit the stage.
            InputError: a dataset cannot be read, is empty, or has other classes than the model.
        """
        return open_samples(data, model, self.optimizer.seed)


def freeze(module: nn.Module, but: Iterable[nn.Module] = ()) -> None:
    """Exclude all weights of a module from training, except those of some parts.

    Args:
        module: module to freeze.
        but: parts of it that are trained.
    """
    module.requires_grad_(False)
    for part in but:
        part.requires_grad_(True)
