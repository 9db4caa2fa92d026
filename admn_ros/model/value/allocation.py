# SPDX-License-Identifier: Apache-2.0
"""Allocation of highest predicted value within a budget, exact for every additive cost table.

Values and costs add up over modalities, so the choice of depths is a multiple-choice knapsack. It is solved by merging
the Pareto frontiers of the modalities (Nemhauser and Ullmann 1969): of all sets of layers, only those are kept that no
cheaper one equals in value. Costs are integers, and nothing is rounded or relaxed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import CostLedger, LayerCosts, PresentNodes
from admn_ros.errors import InputError
from admn_ros.model.allocation import Allocation, Assessment, allocate, settle, top_layers
from admn_ros.sample import Modality

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class _Frontier(NamedTuple):
    """Choices of depths that no cheaper choice equals in value, by ascending cost and value.

    Attributes:
        cost: (K,) in micro-units.
        value: (K,) predicted value.
        code: (K,) depths of the modalities so far, as the digits of one number.
    """

    cost: Integers
    value: Floats
    code: Integers

    @classmethod
    def of(cls, cost: Integers, value: Floats, code: Integers, room: int) -> _Frontier:
        """Keep the choices that fit and that no cheaper one equals in value."""
        fits = np.flatnonzero(cost <= room)
        fits = fits[np.lexsort((-value[fits], cost[fits]))]
        best = np.maximum.accumulate(value[fits])
        kept = fits[np.append(True, best[1:] > best[:-1])]
        return cls(cost[kept], value[kept], code[kept])

    def plus(self, other: _Frontier, depth: int, room: int) -> _Frontier:
        """Combine every choice with every choice of another modality of that depth."""
        return self.of(np.add.outer(self.cost, other.cost).ravel(), np.add.outer(self.value, other.value).ravel(),
                       np.add.outer(self.code * (depth + 1), other.code).ravel(), room)


def allocate_by_value(assessment: Assessment, present_nodes: PresentNodes, table: LayerCosts, budget: Budget,
                      *, requested: Budget | None = None) -> Allocation:
    """Choose the numbers of layers of highest total value within a budget; of equal values, the cheapest.

    The first layer of a modality comes first, then those of highest score. The total value never falls when the budget
    grows. If a layer of some modality fits, at least one layer runs. Values that are not finite count as 0, and a
    deeper choice counts at least as much as a shallower one.

    Args:
        assessment: value of every depth, and scores, of every modality that can run.
        present_nodes: present sensor nodes per modality; modalities that are not named have none.
        table: cost table.
        budget: budget in the unit of the table.
        requested: budget before unit conversion; None if it was not converted.

    Raises:
        InputError: as `admn_ros.model.allocation.allocate`, or values are missing.
    """
    ledger = CostLedger.open(present_nodes, table, budget)
    candidates = ledger.runnable
    if not candidates:
        return allocate(assessment, present_nodes, table, budget, requested=requested)
    values = {m: _values(assessment, m, table) for m in candidates}
    total = _Frontier(np.zeros(1, np.int64), np.zeros(1), np.zeros(1, np.int64))
    for m in candidates:
        depths = np.arange(len(values[m]))
        cost = np.where(depths > 0, ledger.floor(m) + (depths - 1) * ledger.layer(m), 0)
        total = total.plus(_Frontier.of(cost, values[m], depths, ledger.room), len(depths) - 1, ledger.room)
    code, chosen = int(total.code[-1]), {}
    for m in reversed(candidates):
        code, chosen[m] = divmod(code, len(values[m]))
    if not any(chosen.values()):  # nothing is worth anything: still an estimate rather than none
        chosen[min(candidates, key=ledger.floor)] = 1
    active = {m: top_layers(assessment.scores.get(m, ()), table.modalities[m].depth, k) for m, k in chosen.items()}
    return settle(ledger, active, ledger.available, requested, reason=_reason(chosen, values, ledger))


def _values(assessment: Assessment, modality: Modality, table: LayerCosts) -> Floats:
    """Return the value of 0, 1, ... layers of a modality, ascending."""
    found, depth = assessment.values.get(modality, ()), table.modalities[modality].depth
    if len(found) != depth:
        raise InputError(f"values of {modality}", f"{len(found)} values", f"{depth}, one for each depth; "
                         "`admn train value` trains their prediction")
    finite = [value if math.isfinite(value) else 0.0 for value in (0.0, *found)]
    return np.maximum.accumulate(np.array(finite))


def _reason(chosen: Mapping[Modality, int], values: Mapping[Modality, Floats], ledger: CostLedger) -> str:
    """Explain the choice by the value of what ran and of what did not."""
    ran = ", ".join(f"{m} {k} (value {values[m][k]:.3g})" for m, k in chosen.items() if k)
    left = ", ".join(f"{m} (value {values[m][1]:.3g})" if m in chosen else f"{m} (does not fit)"
                     for m in ledger.available if not chosen.get(m))
    return f"Layers by predicted value: {ran}" + (f"; not run: {left}." if left else ".")
