# SPDX-License-Identifier: Apache-2.0
"""Scores of estimates over a split, collected batch by batch, as training reports them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from admn_ros.baselines.learned_baseline import LearnedBaseline
from admn_ros.model.network import NetworkOutput
from admn_ros.scoring.estimates import Estimates, finite_rows
from admn_ros.scoring.metrics import CM_PER_M, Floats
from admn_ros.training.data import LabeledBatch


class SplitScores:
    """Estimates of a split beside their ground truth."""

    def __init__(self) -> None:
        self._parts: list[Estimates] = []

    def add(self, output: NetworkOutput, batch: LabeledBatch) -> None:
        """Add the estimates of a batch."""
        tril = output.scale_tril_m.detach().double()
        truth = torch.where(batch.located[:, None], batch.position_m, torch.nan)[:, :output.mean_m.shape[1]]
        self._parts.append(Estimates(_array(output.mean_m), _array(tril @ tril.mT), _array(truth),
                                     _array(output.class_logits), batch.label.cpu().numpy()))

    def estimates(self) -> Estimates:
        """Return all estimates, of at least one batch. Their scores are those that were added."""
        return Estimates(*(np.concatenate([getattr(part, name) for part in self._parts])
                           for name in ("mean_m", "covariance_m2", "position_m", "scores", "label")))

    def result(self) -> dict[str, float]:
        """Return error_m and nll over the samples with a position, accuracy over those with a label, if there are any.

        An estimate that is not finite makes the scores NaN.
        """
        if not self._parts:
            return {}
        whole = self.estimates()
        located, labelled = finite_rows(whole.position_m), whole.label >= 0
        found: dict[str, float] = {}
        if located.any():
            found["error_m"] = float(whole.errors_cm(located).mean()) / CM_PER_M
            found["nll"] = float(whole.nll(located).mean())
        if labelled.any():
            found["accuracy"] = float((whole.predicted == whole.label)[labelled].mean())
        return found


def baseline_scores(baseline: LearnedBaseline, batches: Iterable[LabeledBatch],
                    max_layers: int | None = None) -> dict[str, float]:
    """Return the scores of a learned baseline, and layers_mean, layers_max, gflops_mean, gflops_max per sample.

    Args:
        baseline: trained baseline; only what its `routed` chooses runs.
        batches: at least one batch.
        max_layers: most layers of each sample; None is the method as published.

    Raises:
        InputError: the limit is below the smallest choice of the method.
    """
    scores = SplitScores()
    layers, gflops = [], []
    with torch.no_grad():
        for batch in batches:
            routed = baseline.routed(batch.samples, max_layers)
            scores.add(routed.estimate, batch)
            layers.append(routed.layers.double())
            gflops.append(routed.gflops)
    cost = {"layers": torch.cat(layers), "gflops": torch.cat(gflops)}
    return scores.result() | {f"{name}_{how}": float(getattr(values, how)())
                              for name, values in cost.items() for how in ("mean", "max")}


def _array(values: Tensor) -> Floats:
    return np.asarray(values.detach().double().cpu().numpy(), np.float64)
