# SPDX-License-Identifier: Apache-2.0
"""Figures of one network on the test split: error, operations, and which expert answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from admn_ros.baselines.experts import DynMM
from admn_ros.baselines.learned_baseline import LearnedBaseline
from admn_ros.benchmark.tables.data import CorruptedSplits
from admn_ros.sample import Modality
from admn_ros.scoring.bootstrap import SceneBootstrap
from admn_ros.scoring.estimates import finite_rows
from admn_ros.scoring.metrics import Floats, Whole
from admn_ros.training.data import LabeledBatch
from admn_ros.training.scores import SplitScores

BATCH = 64


@dataclass(frozen=True)
class Measured:
    """A network on every frame of the test split.

    Attributes:
        error_cm: position errors (N,); NaN without a car.
        right: whether the class is right (N,).
        gflops: operations (N,).
        choice: index of the expert (N,); -1 for a network without gate.
        confidence: probability of that expert by the gate (N,).
        damage: damaged modalities of each frame, `none` or joined by +.
        scene: scene of each frame (N,).
    """

    error_cm: Floats
    right: Floats
    gflops: Floats
    choice: Whole
    confidence: Floats
    damage: tuple[str, ...]
    scene: Whole

    @property
    def mean_cm(self) -> float:
        """Mean error of the frames with a car."""
        return float(np.nanmean(self.error_cm))

    def interval_cm(self, seed: int) -> tuple[float, float] | None:
        """Return the 95 % interval of the mean error, by scene."""
        located = np.isfinite(self.error_cm)
        bootstrap = SceneBootstrap(int(self.scene.max()) + 1, seed)
        return bootstrap.of_mean(self.error_cm[located], self.scene[located])

    def errors_by_damage_cm(self) -> dict[str, float]:
        """Return the mean error of the frames with a car by what was damaged; a kind without such a frame is absent."""
        located, damage = np.isfinite(self.error_cm), np.array(self.damage)
        return {str(d): round(float(self.error_cm[located & (damage == d)].mean()), 2)
                for d in np.unique(damage[located])}

    def shares(self, experts: int, damage: str | None = None) -> tuple[float, ...]:
        """Return the share of frames on each expert; of those with one kind of damage if it is not None."""
        here = [damage in (None, found) for found in self.damage]
        counts = np.bincount(self.choice[here], minlength=experts)
        return tuple(round(float(x), 4) for x in counts / max(1, counts.sum()))


def measure(network: LearnedBaseline, splits: CorruptedSplits, device: torch.device) -> Measured:
    """Run a network on the test split; each frame goes through its own expert only."""
    scores, gflops, choice, confidence, damage = SplitScores(), [], [], [], []
    with torch.inference_mode():
        for batch in _batches(splits, device):
            routed = network.routed(batch.samples)
            scores.add(routed.estimate, batch)
            gflops.append(routed.gflops)
            chosen, sure = _choices(network, batch)
            choice.append(chosen)
            confidence.append(sure)
            damage += damage_of(batch)
    estimates = scores.estimates()
    located = finite_rows(estimates.position_m)
    error = np.full(len(located), np.nan)
    error[located] = estimates.errors_cm(located)
    names = [splits.scene(i) for i in range(len(located))]
    return Measured(error, (estimates.predicted == estimates.label).astype(np.float64), torch.cat(gflops).numpy(),
                    torch.cat(choice).cpu().numpy(), torch.cat(confidence).cpu().double().numpy(), tuple(damage),
                    np.unique(names, return_inverse=True)[1])


def _batches(splits: CorruptedSplits, device: torch.device) -> Iterator[LabeledBatch]:
    for batch in splits.test.batches(0, BATCH, shuffle=False):
        yield batch.to(device)


def _choices(network: LearnedBaseline, batch: LabeledBatch) -> tuple[Tensor, Tensor]:
    if not isinstance(network, DynMM):
        return torch.full((len(batch),), -1), torch.ones(len(batch))
    sure, chosen = network.gate_logits(batch.samples).softmax(dim=1).max(dim=1)
    return chosen, sure


def damage_of(batch: LabeledBatch) -> list[str]:
    """Return the damaged modalities of each sample: `none`, or their names joined by +."""
    columns: Sequence[tuple[Modality, Tensor]] = list(batch.severity.items())
    return ["+".join(str(m) for m, severity in columns if severity[i] > 0) or "none" for i in range(len(batch))]
