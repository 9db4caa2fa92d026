# SPDX-License-Identifier: Apache-2.0
"""Supervision of the controller by categories of corruption (Section 3.4.2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from admn_ros.config import Levels, ModelConfig
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality
from admn_ros.training.data import LabeledBatch
from admn_ros.training.losses import masked_mean


def grade_network(network: AdmnNetwork, levels: Mapping[Modality, Levels], seed: int) -> None:
    """Replace the corruption output of a network by one for categories, in place. An existing one keeps its weights."""
    if network.config.qoi.levels == levels:
        return
    qoi = network.config.qoi.model_copy(update={"levels": dict(levels)})
    network.config = ModelConfig.model_validate(network.config.model_copy(update={"qoi": qoi}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.qoi.grade_as(network.config)


def categories(levels: Mapping[Modality, Levels], severity: Mapping[Modality, Tensor]) -> dict[Modality, Tensor]:
    """Return the category (B,) of the nearest level per modality; arbitrary if the severity is unknown."""
    nearest = {m: (severity[m][:, None] - severity[m].new_tensor(x)).abs() for m, x in levels.items()}
    return {m: distance.nan_to_num(0.0).argmin(dim=1) for m, distance in nearest.items()}


def category_losses(network: AdmnNetwork, e_corr: Tensor, batch: LabeledBatch,
                    weights: Mapping[Modality, float]) -> dict[str, Tensor]:
    """Return the weighted cross-entropy per modality, over samples with label and input; missing weights are 1."""
    logits, levels, available = network.qoi.grade(e_corr), network.config.qoi.levels, batch.available()
    truth = categories(levels, batch.severity)
    return {f"category_{m}": weights.get(m, 1.0) * masked_mean(
                F.cross_entropy(logits[m].float(), truth[m], reduction="none"),
                batch.severity[m].isfinite() & available[m]) for m in levels}


def category_accuracy(network: AdmnNetwork, e_corr: Tensor, batch: LabeledBatch) -> dict[str, Tensor]:
    """Return the classification accuracy of the categories per modality, over samples with label and input."""
    logits, levels, available = network.qoi.grade(e_corr), network.config.qoi.levels, batch.available()
    truth = categories(levels, batch.severity)
    return {f"category_{m}/accuracy": masked_mean((logits[m].argmax(dim=1) == truth[m]).float(),
                                                  batch.severity[m].isfinite() & available[m]) for m in levels}
