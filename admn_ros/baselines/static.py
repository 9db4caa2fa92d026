# SPDX-License-Identifier: Apache-2.0
"""The best constant allocation of each budget, found by enumeration on validation data.

The strongest cheap rival of a controller, and the paper does not report it. One table of mean losses
serves every budget, every unit and every set of present modalities: the losses do not depend on them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from admn_ros.baselines.orders import LayerOrder, every_other
from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import CostLedger, Counts, LayerCosts
from admn_ros.errors import InputError
from admn_ros.model.allocation import Allocation, settle
from admn_ros.sample import Modality

Depths = tuple[int, ...]
"""Layers of each modality, in the order of the table's modalities."""
Losses = Mapping[Depths, float]
"""Mean validation loss of each allocation that was tried; lower is better."""
Cell = tuple[tuple[Modality, float], ...]
"""Corruption severity of each modality, in the order of the modalities' names."""


def all_depths(depths: Mapping[Modality, int], step: int = 1) -> Iterator[Depths]:
    """Every allocation by counts except the empty one: what to measure before a search.

    Args:
        depths: layers of each backbone.
        step: only multiples of it and the full depth, to make the enumeration of many modalities smaller.

    Raises:
        InputError: the step is below 1.
    """
    if step < 1:
        raise InputError("step", step, "at least 1")
    choices = [sorted({*range(0, d, step), d}) for d in depths.values()]
    return (counts for counts in itertools.product(*choices) if any(counts))


def search_static(losses: Losses, modalities: Sequence[Modality], present_nodes: Mapping[Modality, int],
                  table: LayerCosts, budget: Budget) -> Counts | None:
    """The allocation of least loss that the budget holds, of equals the cheaper, then the first.

    Args:
        losses: mean loss per allocation; any subset of all allocations.
        modalities: which modality each place of an allocation is.
        present_nodes: number of present sensor nodes; allocations that use a missing modality are out.

    Returns:
        Counts per modality, or None when no listed allocation fits.

    Raises:
        InputError: as `allocate`, or the losses do not fit the table.
    """
    return StaticAllocation(tuple(modalities), losses).best(CostLedger.open(present_nodes, table, budget))


@dataclass(frozen=True)
class StaticAllocation:
    """A constant allocation per budget and set of present modalities, from a table of losses.

    The validation loss of what it runs never rises when the budget grows. When the budget does not
    hold any listed allocation, nothing runs; list the single layers if small budgets matter.

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

    def __call__(self, scores: Mapping[Modality, Sequence[float]], qoi: Mapping[Modality, float],
                 present_nodes: Mapping[Modality, int], table: LayerCosts, budget: Budget, *,
                 requested: Budget | None = None) -> Allocation:
        """See `AllocationPolicy`. Scores and QoI are not read."""
        ledger = CostLedger.open(present_nodes, table, budget)
        counts = self.best(ledger)
        if counts is None:
            return settle(ledger, {}, ledger.available, requested)
        # What a static allocation leaves out it leaves out by choice.
        return settle(ledger, {m: self.order(table.modalities[m].depth, k) for m, k in counts.items()}, (), requested)

    def best(self, ledger: CostLedger) -> Counts | None:
        """Counts of least loss that a frame can afford; None when there are none.

        Raises:
            InputError: a modality is not in the table, or the losses go deeper than a backbone.
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


@dataclass(frozen=True)
class OracleByCorruption:
    """The best static allocation of every corruption cell: what knowing the corruption exactly would give.

    A bound for evaluation, where the cell is known; no robot has it. Choose it on other noise draws
    than those it is scored on, or it flatters itself.
    """

    cells: Mapping[Cell, StaticAllocation]

    @staticmethod
    def cell(corruption: Mapping[Modality, float]) -> Cell:
        """The key of a sample's corruption (`Target.corruption`)."""
        return tuple(sorted(((m, float(s)) for m, s in corruption.items()), key=lambda entry: str(entry[0])))

    def at(self, corruption: Mapping[Modality, float]) -> StaticAllocation:
        """The policy for frames of this corruption.

        Raises:
            InputError: no such cell.
        """
        key = self.cell(corruption)
        if key not in self.cells:
            raise InputError("corruption", _text(key), "; ".join(map(_text, self.cells)) or "no cell at all")
        return self.cells[key]


def _text(cell: Cell) -> str:
    return ", ".join(f"{m} {severity:g}" for m, severity in cell)
