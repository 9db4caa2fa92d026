# SPDX-License-Identifier: Apache-2.0
"""Losses of estimates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from admn_ros.model.evidence import Evidence
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.sample import Modality, SampleBatch
from admn_ros.scoring.metrics import CM_PER_M
from admn_ros.training.config import LossConfig
from admn_ros.training.data import LabeledBatch


def gaussian_nll(mean_m: Tensor, scale_tril_m: Tensor, position_m: Tensor) -> Tensor:
    """Return the negative log-likelihood (B,) of positions under Gaussians.

    Args:
        mean_m: means (B, D).
        scale_tril_m: lower Cholesky factors of the covariances (B, D, D).
        position_m: positions (B, D).
    """
    residual = (position_m - mean_m)[..., None]
    whitened = torch.linalg.solve_triangular(scale_tril_m, residual, upper=False)[..., 0]
    log_volume = scale_tril_m.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    nll: Tensor = 0.5 * whitened.square().sum(dim=-1) + log_volume + 0.5 * mean_m.shape[-1] * math.log(2 * math.pi)
    return nll


def distances_m(output: NetworkOutput, batch: LabeledBatch) -> Tensor:
    """Return the distance (B,) between mean and target over the model's axes; undefined where not located."""
    error = output.mean_m.float() - batch.position_m[:, :output.mean_m.shape[1]]
    # The gradient of a norm is undefined at 0.
    return error.square().sum(dim=1).clamp_min(1e-12).sqrt()


def task_losses(output: NetworkOutput, batch: LabeledBatch, config: LossConfig) -> dict[str, Tensor]:
    """Return the weighted parts of the task loss, means over the samples with a target; 0 if none has one.

    Localization takes the samples with a position, classification those with a label.
    """
    losses: dict[str, Tensor] = {}
    if config.nll:
        target = batch.position_m[:, :output.mean_m.shape[1]]
        nll = gaussian_nll(output.mean_m.float(), output.scale_tril_m.float(), target)
        losses["nll"] = config.nll * masked_mean(nll, batch.located)
    if config.distance_per_cm:
        distance = CM_PER_M * masked_mean(distances_m(output, batch), batch.located)
        losses["distance"] = config.distance_per_cm * distance
    if config.classification:
        labelled = batch.label >= 0
        entropy = F.cross_entropy(output.class_logits.float(), batch.label.clamp_min(0), reduction="none")
        losses["class"] = config.classification * masked_mean(entropy, labelled)
    return losses


def estimate_losses(network: AdmnNetwork, samples: SampleBatch, layers: Mapping[Modality, Sequence[int]],
                    batch: LabeledBatch, config: LossConfig) -> dict[str, Tensor]:
    """Run layers and return `task_losses` of the estimate, plus the evidence loss if it has a weight.

    Args:
        network: network to run.
        samples: inputs; some inputs of the batch may be absent in them.
        layers: layers of each modality that runs.
        batch: ground truth.
        config: weights of the parts.
    """
    if not config.evidence:
        return task_losses(network.estimate(samples, layers), batch, config)
    output, evidence = network.explain(samples, layers)
    return {**task_losses(output, batch, config), "evidence": config.evidence * evidence_loss(evidence, batch)}


def evidence_loss(evidence: Evidence, batch: LabeledBatch) -> Tensor:
    """Return the mean negative log-likelihood of the positions under each present input's own estimate."""
    slots = evidence.mean_m.shape[1]
    target = batch.position_m[:, None, :2].expand(-1, slots, -1)
    nll = gaussian_nll(evidence.mean_m.flatten(0, 1).float(), evidence.scale_tril_m.flatten(0, 1).float(),
                       target.flatten(0, 1))
    return masked_mean(nll, (evidence.present & batch.located[:, None]).flatten())


def corruption_losses(predicted: Mapping[Modality, Tensor], batch: LabeledBatch,
                      weights: Mapping[Modality, float]) -> dict[str, Tensor]:
    """Return the weighted |predicted - severity| per modality (Section 3.4.2), over samples with label and input."""
    available = batch.available()
    losses = {}
    for modality, value in predicted.items():
        if modality in batch.severity:
            severity = batch.severity[modality]
            known = severity.isfinite() & available[modality]
            # Replaced before the difference: the gradient of a masked NaN is NaN.
            error = (value.float() - torch.where(known, severity, 0.0)).abs()
            losses[f"corruption_{modality}"] = weights.get(modality, 1.0) * masked_mean(error, known)
    return losses


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of values (B,) where mask (B,) is true; 0 if it is nowhere true. Differentiable in both cases."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp_min(1)


def constant_error_m(batches: Iterable[tuple[Tensor, Tensor]]) -> float | None:
    """Return the mean distance of positions (B, D) with masks (B,) to their own mean: the error of a constant guess."""
    located = [position[mask] for position, mask in batches]
    positions = torch.cat(located) if located else torch.zeros(0, 1)
    if not len(positions):
        return None
    return float((positions - positions.mean(dim=0)).norm(dim=1).mean())
