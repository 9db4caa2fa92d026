# SPDX-License-Identifier: Apache-2.0
"""Supervision of the controller by categories of corruption (Section 3.4.2), for training only.

The classes' logits are read from e_corr beside the corruption output of the model and teach what e_corr must
hold. The corruption output learns from them the expected severity of the class, so that QoI keeps its meaning and
a model has the same weights whatever it was taught with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from admn_ros.model.qoi import QoiEncoder
from admn_ros.sample import Modality
from admn_ros.training.data import LabeledBatch
from admn_ros.training.losses import masked_mean


class CategoryHeads(nn.Module):
    """Logits of each modality's classes of corruption.

    Args:
        dim: of e_corr.
        hidden: width between.
        levels: ascending severities of each modality's classes.
        seed: of the weights.
    """

    def __init__(self, dim: int, hidden: int, levels: Mapping[Modality, Sequence[float]], seed: int) -> None:
        super().__init__()
        self.levels = {m: torch.tensor(x) for m, x in levels.items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.heads = nn.ModuleDict({
                str(m): nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, len(x)))
                for m, x in levels.items()})

    def forward(self, e_corr: Tensor) -> dict[Modality, Tensor]:
        """(B, dim) to (B, K) logits per modality."""
        return {m: self.heads[str(m)](e_corr).float() for m in self.levels}

    def expected(self, logits: Mapping[Modality, Tensor]) -> dict[Modality, Tensor]:
        """Expected severity (B,) per modality."""
        return {m: x.softmax(dim=1) @ self.levels[m].to(x.device) for m, x in logits.items()}

    def classes(self, severity: Mapping[Modality, Tensor]) -> dict[Modality, Tensor]:
        """Class (B,) of the nearest level per modality; of a severity that is not known any."""
        nearest = {m: (severity[m][:, None] - x.to(severity[m].device)).abs() for m, x in self.levels.items()}
        return {m: distance.nan_to_num(0.0).argmin(dim=1) for m, distance in nearest.items()}


def category_losses(heads: CategoryHeads, qoi: QoiEncoder, e_corr: Tensor, batch: LabeledBatch,
                    weights: Mapping[Modality, float]) -> dict[str, Tensor]:
    """Weighted cross-entropy per modality, and how far the corruption output is from the expected severity.

    Args:
        heads: of the classes.
        qoi: whose corruption output follows them; it does not teach e_corr.
        e_corr: (B, dim).
        batch: with severities.
        weights: of modalities; 1 where absent.
    """
    logits, available = heads(e_corr), batch.available()
    expected, truth = heads.expected(logits), heads.classes(batch.severity)
    corruption = qoi.judge(e_corr.detach())
    losses = {}
    for modality, x in logits.items():
        known = batch.severity[modality].isfinite() & available[modality]
        entropy = F.cross_entropy(x, truth[modality], reduction="none")
        losses[f"category_{modality}"] = weights.get(modality, 1.0) * masked_mean(entropy, known)
        distance = (corruption[modality].float() - expected[modality].detach()).abs()
        losses[f"expected_{modality}"] = masked_mean(distance, available[modality])
    return losses


def category_accuracy(heads: CategoryHeads, e_corr: Tensor, batch: LabeledBatch) -> dict[str, Tensor]:
    """Share of samples whose class is found, per modality."""
    truth, available = heads.classes(batch.severity), batch.available()
    return {f"category_{m}/accuracy": masked_mean((x.argmax(dim=1) == truth[m]).float(),
                                                  batch.severity[m].isfinite() & available[m])
            for m, x in heads(e_corr).items()}
