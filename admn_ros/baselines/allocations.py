# SPDX-License-Identifier: Apache-2.0
"""Allocations that ignore the quality of the inputs (paper Section 4.1.2), and variants of the controller's."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from admn_ros.baselines.orders import LayerOrder, every_other, prefix
from admn_ros.baselines.policy import AllocationPolicy
from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import CostLedger, LayerCosts, PresentNodes
from admn_ros.model.allocation import Allocation, Assessment, allocate, settle
from admn_ros.sample import Modality


@dataclass(frozen=True)
class NaiveAllocation:
    """Naive Allocation of the paper: the same number of layers for each available modality.

    Layers are added in turns in the model's order, up to the first one that does not fit, so the cost never falls when
    the budget grows. A modality that is missing, at its full depth, or whose first layer does not fit is skipped.
    """

    order: LayerOrder = every_other

    def __call__(self, assessment: Assessment, present_nodes: PresentNodes, table: LayerCosts,
                 budget: Budget, *, requested: Budget | None = None) -> Allocation:
        """See `AllocationPolicy`. The assessment is ignored."""
        ledger = CostLedger.open(present_nodes, table, budget)
        return _in_turns(ledger, ledger.available, self.order, requested)


@dataclass(frozen=True)
class OnlyModality:
    """Image, Depth or Audio Only of the paper: one modality gets all layers, at most its depth.

    Frames without that modality run nothing. The cost never falls when the budget grows.
    """

    modality: Modality
    order: LayerOrder = every_other

    def __call__(self, assessment: Assessment, present_nodes: PresentNodes, table: LayerCosts,
                 budget: Budget, *, requested: Budget | None = None) -> Allocation:
        """See `AllocationPolicy`. The assessment is ignored."""
        ledger = CostLedger.open(present_nodes, table, budget)
        return _in_turns(ledger, [m for m in ledger.available if m is self.modality], self.order, requested)


@dataclass(frozen=True)
class UpperBound:
    """Upper Bound of the paper: every layer of every available modality.

    A budget that does not hold all of them runs nothing; use an infinite budget for the bound.
    """

    def __call__(self, assessment: Assessment, present_nodes: PresentNodes, table: LayerCosts,
                 budget: Budget, *, requested: Budget | None = None) -> Allocation:
        """See `AllocationPolicy`. The assessment is ignored."""
        ledger = CostLedger.open(present_nodes, table, budget)
        full = {m: table.modalities[m].depth for m in ledger.available}
        active = {m: range(k) for m, k in full.items()} if ledger.affords(full) else {}
        return settle(ledger, active, ledger.available, requested)


@dataclass(frozen=True)
class RandomAllocation:
    """Random layers within the budget, sampled for each frame.

    The sample is a function of the seed and of the controller's scores and QoI, which differ from frame to frame: a
    frame gets the same layers in any order of frames. Without scores and QoI all frames get the same layers.
    """

    seed: int

    def __call__(self, assessment: Assessment, present_nodes: PresentNodes, table: LayerCosts,
                 budget: Budget, *, requested: Budget | None = None) -> Allocation:
        """See `AllocationPolicy`."""
        # Seeded with a string, Python's generator gives the same numbers in every process.
        frame = (sorted((str(m), list(x)) for m, x in assessment.scores.items()),
                 sorted((str(m), q) for m, q in assessment.qoi.items()))
        draw = random.Random(f"{self.seed} {frame!r}")
        noise = {m: [draw.random() for _ in range(c.depth)] for m, c in table.modalities.items()}
        quality = {m: draw.random() for m in table.modalities}
        return allocate(Assessment(noise, quality), present_nodes, table, budget, requested=requested)


@dataclass(frozen=True)
class PrefixScores:
    """Another policy's numbers of layers, but always the first layers of each backbone.

    For backbones that were trained with nested depths, and to measure the benefit of choosing single layers.

    Attributes:
        inner: policy that decides the numbers of layers.
        order: layers that are kept.
    """

    inner: AllocationPolicy = allocate
    order: LayerOrder = prefix

    def __call__(self, assessment: Assessment, present_nodes: PresentNodes, table: LayerCosts,
                 budget: Budget, *, requested: Budget | None = None) -> Allocation:
        """See `AllocationPolicy`."""
        chosen = self.inner(assessment, present_nodes, table, budget, requested=requested)
        # All layers of a modality cost the same, so the costs stay as they are.
        active = {m: self.order(table.modalities[m].depth, len(layers)) for m, layers in chosen.active.items()}
        return replace(chosen, active=active)


def _in_turns(ledger: CostLedger, wanted: Sequence[Modality], order: LayerOrder,
              requested: Budget | None) -> Allocation:
    """Add layers of the wanted modalities in turns until one does not fit."""
    depths = {m: c.depth for m, c in ledger.table.modalities.items()}
    room, counts = ledger.room, dict.fromkeys(wanted, 0)
    for m in wanted:
        if ledger.floor(m) <= room:
            room -= ledger.floor(m)
            counts[m] = 1
    turns = [(k, m) for k in range(2, max(depths.values(), default=0) + 1)
             for m in wanted if counts[m] and k <= depths[m]]
    for k, m in turns:
        room -= ledger.layer(m)
        if room < 0:
            break
        counts[m] = k
    return settle(ledger, {m: order(depths[m], k) for m, k in counts.items()}, wanted, requested)
