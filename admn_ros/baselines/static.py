# SPDX-License-Identifier: Apache-2.0
"""Best static allocation of each budget, found by enumeration on validation data.

A strong and cheap baseline that the paper does not report. One table of mean losses serves every budget, unit and set
of present modalities, because the losses do not depend on them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from admn_ros.baselines.orders import LayerOrder, every_other
from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import CostLedger, Counts, LayerCosts, PresentNodes
from admn_ros.errors import InputError
from admn_ros.model.allocation import Allocation, Assessment, settle
from admn_ros.sample import Modality

Depths = tuple[int, ...]
"""Layers of each modality, in the order of the table's modalities."""
Losses = Mapping[Depths, float]
"""Mean validation loss of each allocation that was measured; lower is better."""
MOST_ALLOCATIONS = 20_000
"""Most allocations that are measured; each is one pass of the fusion per frame."""


def some_depths(depths: Mapping[Modality, int], layers: Sequence[int]) -> list[Depths]:
    """List the allocations of no, some numbers of, and all layers of each modality, without the empty one.

    Args:
        depths: layers of each backbone.
        layers: numbers of layers of a modality; those of more than its depth are left out.

    Raises:
        InputError: a number is below 1, or there are more than `MOST_ALLOCATIONS` combinations.
    """
    if layers and min(layers) < 1:
        raise InputError("layers", min(layers), "at least 1")
    choices = [sorted({0, d, *(k for k in layers if k < d)}) for d in depths.values()]
    found = list(itertools.islice((counts for counts in itertools.product(*choices) if any(counts)),
                                  MOST_ALLOCATIONS + 1))
    if len(found) > MOST_ALLOCATIONS:
        raise InputError("layers", " ".join(map(str, layers)), "fewer numbers; their combinations over the modalities "
                         f"are more than {MOST_ALLOCATIONS}")
    return found


@dataclass(frozen=True)
class StaticAllocation:
    """Static allocation per budget and set of present modalities: the feasible one with the least loss.

    The validation loss never rises when the budget grows. Of equal losses the cheaper allocation wins. If the budget
    holds none of the allocations, nothing runs; include single layers if small budgets matter.

    Attributes:
        modalities: modality of each place of an allocation.
        losses: mean loss per allocation; any subset of all allocations.
        order: layers that are kept.

    Raises:
        InputError: no losses, allocations of another length or with negative or no layers, or a NaN.
    """

    modalities: tuple[Modality, ...]
    losses: Losses
    order: LayerOrder = every_other
    _ranked: tuple[tuple[float, Depths], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.losses:
            raise InputError("losses", "none", "at least one allocation")
        for counts, loss in self.losses.items():
            if len(counts) != len(self.modalities) or min(counts) < 0 or not any(counts):
                raise InputError("losses", counts, f"layers of {', '.join(map(str, self.modalities))}, not all 0")
            if math.isnan(loss):
                raise InputError(f"losses of {counts}", loss, "a number")
        object.__setattr__(self, "_ranked", tuple(sorted((loss, counts) for counts, loss in self.losses.items())))

    def __call__(self, assessment: Assessment, present_nodes: PresentNodes, table: LayerCosts,
                 budget: Budget, *, requested: Budget | None = None) -> Allocation:
        """See `AllocationPolicy`. The assessment is ignored."""
        ledger = CostLedger.open(present_nodes, table, budget)
        counts = self.best(ledger)
        if counts is None:
            return settle(ledger, {}, ledger.available, requested)
        # Modalities without layers were left out by choice, not for lack of budget.
        return settle(ledger, {m: self.order(table.modalities[m].depth, k) for m, k in counts.items()}, (), requested)

    def best(self, ledger: CostLedger) -> Counts | None:
        """Return the numbers of layers of least loss that fit into the budget; None if none fits.

        Raises:
            InputError: a modality is not in the table, or an allocation is deeper than its backbone.
        """
        depths = {m: c.depth for m, c in ledger.table.modalities.items()}
        least: tuple[float, int, Counts] | None = None
        for loss, listed in self._ranked:
            if least is not None and loss > least[0]:
                break
            counts = dict(zip(self.modalities, listed, strict=True))
            for m, k in counts.items():
                if k > depths.get(m, -1):
                    raise InputError(f"losses of {listed}", f"{k} layers of {m}", f"at most {depths.get(m, 'none')}")
            if ledger.affords(counts) and (least is None or ledger.price(counts) < least[1]):
                least = loss, ledger.price(counts), counts
        return None if least is None else least[2]
