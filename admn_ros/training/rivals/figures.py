# SPDX-License-Identifier: Apache-2.0
"""Figures of a rival over a split: how well it does, and what that costs on average and at worst."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from admn_ros.baselines.learned_baseline import Rival
from admn_ros.training.data import LabeledBatch
from admn_ros.training.losses import Figures


def rival_figures(rival: Rival, batches: Iterable[LabeledBatch], max_layers: int | None = None) -> dict[str, float]:
    """Figures of `Figures`, and `layers_mean`, `layers_max`, `gflops_mean`, `gflops_max` per sample.

    Args:
        rival: trained; what runs is what its `routed` chooses.
        batches: at least one.
        max_layers: bound for each sample; None is the method as published.

    Raises:
        InputError: the bound does not hold the least that the method runs.
    """
    figures = Figures()
    layers, gflops = [], []
    with torch.no_grad():
        for batch in batches:
            routed = rival.routed(batch.samples, max_layers)
            figures.add(routed.estimate, batch)
            layers.append(routed.layers.double())
            gflops.append(routed.gflops)
    cost = {"layers": torch.cat(layers), "gflops": torch.cat(gflops)}
    return figures.result() | {f"{name}_{how}": float(getattr(values, how)())
                               for name, values in cost.items() for how in ("mean", "max")}
