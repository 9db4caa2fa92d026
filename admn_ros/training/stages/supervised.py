# SPDX-License-Identifier: Apache-2.0
"""Stage 0 after masked pretraining: a backbone learns to classify, with or without LayerDrop (Section A.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar, Final

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from admn_ros.baselines.orders import every_other
from admn_ros.config import Count, ModelConfig
from admn_ros.errors import ConfigError, InputError
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.present_nodes import present_rows
from admn_ros.sample import Modality
from admn_ros.training.config import DataConfig, OptimizerConfig, Rate
from admn_ros.training.data import LabeledBatch, Samples
from admn_ros.training.seeding import HEAD, derive
from admn_ros.training.stage import Stage, StageConfig, Step, freeze
from admn_ros.training.stages.augmentation import AugmentConfig
from admn_ros.training.stages.pretrain import (
    check_copies,
    copy_backbones,
    draw_encoder_layers,
    open_backbone_samples,
)

IMAGES_REMOVED: Final = ((), (6,), (6, 8), (4, 6, 8), (2, 4, 6, 8), (2, 4, 6, 8, 10), (2, 4, 6, 7, 8, 10),
                         (1, 2, 4, 6, 7, 8, 10))
"""Layers that Table 8 removes from a backbone of twelve."""
SOUND_REMOVED: Final = ((), (6,), (6, 8), (4, 6, 8), (2, 4, 6, 8), (2, 4, 6, 8, 9), (2, 4, 6, 7, 8, 9),
                        (1, 2, 4, 6, 7, 8, 9), (1, 2, 4, 5, 6, 7, 8, 9), (1, 2, 3, 4, 5, 6, 7, 8, 9),
                        (1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
"""Layers that Table 9 removes from a backbone of twelve."""


class SupervisedConfig(StageConfig):
    """Stage 0, supervised finetuning of one backbone after masked pretraining (Section A.4, Tables 8 and 9).

    Attributes:
        modality: modality whose backbone is trained, as a whole.
        classes: number of classes of the dataset.
        layerdrop: probability of each layer to be dropped, drawn per batch; 0 is the paper's "Normal FT".
        augment: augmentation of the training samples.
        copies: other backbone -> `modality`, whose weights it gets at the end, such as depth from rgb in the paper.
    """

    from_preset: ClassVar[bool] = True

    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-3, schedule="cosine", warm_up_epochs=5,
                                                 weight_decay=0.05, epochs=100)
    modality: Modality
    classes: Count
    layerdrop: Rate = 0.2
    augment: AugmentConfig = AugmentConfig()
    copies: dict[Modality, Modality] = Field(default={})

    def make(self, network: AdmnNetwork) -> Supervised:
        """Set up the stage on a network, in place."""
        return Supervised(network, self)

    def open_samples(self, data: DataConfig, model: ModelConfig) -> tuple[Samples, Samples]:
        """Open augmented training samples, and validation samples as they are, of the trained modality only.

        Raises:
            ConfigError: no folder is named, the source or the model lacks the modality, or there is a corruption.
            InputError: a dataset cannot be read, or is empty.
        """
        _check_modality(self, model)
        return open_backbone_samples("supervised", (self.modality,), self.augment, self.optimizer.seed, data, model)


class Supervised(Stage):
    """Training of one backbone with a linear classifier on its readout, which is discarded afterwards.

    Raises:
        ConfigError: the modality or `copies` do not fit the model.
    """

    name: ClassVar[str] = "supervised"

    def __init__(self, network: AdmnNetwork, config: SupervisedConfig) -> None:
        _check_modality(config, network.config)
        check_copies("supervised", config.copies, (config.modality,), network.config)
        self.network, self.config = network, config
        self.vit = network.backbone(config.modality)
        freeze(network, [self.vit])
        self.head = nn.Linear(self.vit.dim, config.classes)
        initialize(self.head, derive(config.optimizer.seed, HEAD))
        super().__init__(nn.ModuleDict({"network": network, "head": self.head}))

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        """Return the cross-entropy with the layers drawn for this batch."""
        logits, labels = self._logits(batch, draw_encoder_layers(self.config.layerdrop, self.vit.depth, step.draws))
        return {"class": F.cross_entropy(logits.float(), labels) if len(labels) else logits.sum()}

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """Return the accuracy with each number of removed layers: `removed_0/accuracy` with all of them."""
        removals = removed_layers(self.config.modality, self.vit.depth)
        right: dict[int, int] = {}
        count = 0
        for batch in batches:
            for removed in removals:
                kept = tuple(i for i in range(self.vit.depth) if i not in removed)
                logits, labels = self._logits(batch, kept)
                found = int((logits.argmax(dim=1) == labels).sum())
                right[len(removed)] = right.get(len(removed), 0) + found
            count += len(labels)
        return {f"removed_{number}/accuracy": found / max(1, count) for number, found in right.items()}

    def finish(self, folder: Path) -> None:
        """Copy weights as `copies` asks."""
        copy_backbones(self.network, self.config.copies)

    def _logits(self, batch: LabeledBatch, layers: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Return the logits (R, classes) and the labels (R,) of the present inputs of samples with a label.

        Raises:
            InputError: a label is not below the number of classes.
        """
        modality = self.config.modality
        inputs, present = batch.samples.inputs[modality], batch.samples.present[modality]
        rows, index = present_rows(inputs, present & (batch.label >= 0)[:, None])
        labels = batch.label[index // present.shape[1]]
        if len(labels) and int(labels.max()) >= self.config.classes:
            raise InputError("label", int(labels.max()), f"below supervised.classes {self.config.classes}")
        features = self.vit(rows, layers) if len(labels) else rows.new_zeros(0, self.vit.dim)
        logits: Tensor = self.head(features)
        return logits, labels


def removed_layers(modality: Modality, depth: int) -> tuple[tuple[int, ...], ...]:
    """Return the sets of layers that are removed for validation: those of Table 8 or 9, or as "every-other" does."""
    if depth == 12:
        return SOUND_REMOVED if modality is Modality.AUDIO else IMAGES_REMOVED
    return tuple(tuple(sorted(set(range(depth)) - set(every_other(depth, kept)))) for kept in range(depth, 0, -1))


def _check_modality(config: SupervisedConfig, model: ModelConfig) -> None:
    if config.modality not in model.modalities:
        raise ConfigError("supervised.modality", config.modality, ", ".join(map(str, model.modalities)))
