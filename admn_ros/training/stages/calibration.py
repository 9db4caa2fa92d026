# SPDX-License-Identifier: Apache-2.0
"""Stage 4: covariances and class probabilities are fitted to the errors on data that the network has not seen.

Not from the paper. Each batch runs the frozen backbones once and fuses many random sets of inputs, half of the samples
clean and half of them corrupted. Only `admn_ros.model.calibration.Calibration` changes: the covariance to the highest
likelihood of the true positions, the temperature to that of the true classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from admn_ros.config import CalibrationConfig, Count, ModelConfig, Span
from admn_ros.datasets.corrupted import preset_for_source
from admn_ros.datasets.source import JoinedSource, SampleSource
from admn_ros.errors import ConfigError
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.scoring.metrics import COVERAGES, calibration_error
from admn_ros.training.config import DataConfig, OptimizerConfig, Share
from admn_ros.training.data import CLEAN_DRAW, LabeledBatch, Samples
from admn_ros.training.losses import gaussian_nll, masked_mean
from admn_ros.training.scores import SplitScores
from admn_ros.training.seeding import CALIBRATION, VALIDATION, derive, generator
from admn_ros.training.sources import open_split
from admn_ros.training.stage import Stage, StageConfig, Step, freeze
from admn_ros.training.stages.random_inputs import random_depths, random_sets


class CalibrateConfig(StageConfig):
    """Stage 4, the calibration.

    The split `data.train` must be one that the network has not seen, such as val.

    Attributes:
        hidden: width of the hidden layer.
        seen_height_m: lowest and highest sensor node of the data on which the network was trained.
        moved: dataset with sensor nodes elsewhere than in training (`admn simulate --viewpoints moved`), which is added
            to `data.train` with its split train, and takes the place of `data.validation` with its split val; null for
            none.
        sets: number of random sets of inputs per sample and step.
        whole_modalities: share of the sets that have a modality at all sensor nodes or at none.
        one_layer: share of the batches with one layer of each modality; the others have random depths.
    """

    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-2, schedule="cosine", final=0.01, weight_decay=0.1,
                                                 epochs=8)
    hidden: Count = 24
    seen_height_m: Span
    moved: str | None = None
    sets: Count = 12
    whole_modalities: Share = 0.7
    one_layer: Share = 0.75

    def make(self, network: AdmnNetwork) -> Calibrate:
        """Set up the stage on a network, in place."""
        return Calibrate(network, self)

    def open_samples(self, data: DataConfig, model: ModelConfig) -> tuple[Samples, Samples]:
        """See `StageConfig`. Half of the samples of every epoch are clean."""
        seed = self.optimizer.seed
        fitted: SampleSource = open_split(data, data.train, model)
        if self.moved is None:
            checked = open_split(data, data.validation, model)
        else:
            elsewhere = data.model_copy(update={"folder": self.moved})
            fitted = JoinedSource([fitted, open_split(elsewhere, "train", model)])
            checked = open_split(elsewhere, "val", model)
        preset = None if data.corruption is None else preset_for_source(data.corruption, fitted, model, data.variant)
        return (HalfCleanSamples(fitted, model, preset, seed=seed, draws=data.draws, cache_mb=data.cache_mb,
                                 workers=data.workers),
                HalfCleanSamples(checked, model, preset, seed=derive(seed, VALIDATION), draws=1, workers=data.workers))


class HalfCleanSamples(Samples):
    """Samples of which one half is clean and the other corrupted, in turns from epoch to epoch."""

    def draw(self, epoch: int) -> int:
        """See `Samples`. Even numbers are clean."""
        return super().draw(epoch // 2) if epoch % 2 else CLEAN_DRAW

    def draw_of(self, epoch: int, index: int) -> int:
        """See `Samples`."""
        return self.draw(epoch + index)


class Calibrate(Stage):
    """Training of the calibration; nothing else of the network changes."""

    name: ClassVar[str] = "calibration"

    def __init__(self, network: AdmnNetwork, config: CalibrateConfig) -> None:
        if network.config.localization.kind != "evidence":
            raise ConfigError("localization.kind", network.config.localization.kind, "evidence")
        network.calibrate(CalibrationConfig(hidden=config.hidden, seen_height_m=config.seen_height_m))
        assert network.calibration is not None
        initialize(network.calibration, derive(config.optimizer.seed, CALIBRATION))
        network.calibration.reset()
        super().__init__(network)
        self.network, self.config = network, config
        freeze(network, [network.calibration])

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        """Return the negative log-likelihoods of positions and classes over all sets of inputs."""
        position, classes = [], []
        for output, some in self._outputs(batch, step.draws):
            nll = gaussian_nll(output.mean_m, output.scale_tril_m, batch.position_m[:, :2])
            position.append(masked_mean(nll, some & batch.located))
            wrong = F.cross_entropy(output.class_logits, batch.label.clamp_min(0), reduction="none")
            classes.append(masked_mean(wrong, some & (batch.label >= 0)))
        return {"nll": torch.stack(position).mean(), "class": torch.stack(classes).mean()}

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """Return inside_50, inside_90, inside_95, the shares of positions in these ellipses, and calibration_error."""
        draws, scores = generator(self.config.optimizer.seed, CALIBRATION, 1), SplitScores()
        for batch in batches:
            for output, some in self._outputs(batch, draws):
                mean_m = torch.where(some[:, None], output.mean_m, torch.nan)  # no inputs, no estimate
                scores.add(NetworkOutput(mean_m, output.scale_tril_m, output.class_logits.softmax(dim=1)), batch)
        found = scores.estimates()
        inside = {f"inside_{100 * p:.0f}": float(found.covered(found.located, p).mean()) for p in COVERAGES}
        return inside | {"calibration_error": float(calibration_error(found.confidence_sums(found.labelled)))}

    def _outputs(self, batch: LabeledBatch, draws: torch.Generator) -> Iterator[tuple[NetworkOutput, Tensor]]:
        """Yield the output of each random set of inputs, and which samples (B,) have any input in it."""
        depths = random_depths(self.network, self.config.one_layer, draws)
        with torch.no_grad():
            first = {m: (torch.arange(total) < depths[m]).float().expand(len(batch), -1).to(batch.position_m)
                     for m, total in self.network.config.depths.items()}
            tokens, present = self.network.embed(batch.samples, first)
        for keep in random_sets(self.network, len(batch), self.config.sets, self.config.whole_modalities, draws):
            chosen = present & keep.to(present.device).flatten(1)
            yield self.network.fuse(tokens, chosen, batch.samples.poses)[0], chosen.any(dim=1)
