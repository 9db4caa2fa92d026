# SPDX-License-Identifier: Apache-2.0
"""Allocation of highest predicted value within a budget, exact for every additive cost table.

A modality runs a number of layers at some of its present sensor nodes. Values add up over inputs, so of all sets of as
many sensor nodes, the most valuable ones are the best. Values and costs add up over modalities too, so the choice of
sensor nodes and depths is a multiple-choice knapsack. It is solved by merging the Pareto frontiers of the modalities
(Nemhauser and Ullmann 1969): of all sets of layers, only those are kept that no cheaper one equals in value. The last
two frontiers need no merge, only the best pair (Horowitz and Sahni 1974). Costs are integers, and nothing is rounded or
relaxed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import CostLedger, LayerCosts, ModalityCosts, PresentNodes
from admn_ros.errors import InputError
from admn_ros.model.allocation import Allocation, Assessment, settle, top_layers
from admn_ros.model.value.reasons import explain
from admn_ros.sample import Modality

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class _Choice(NamedTuple):
    """What a modality runs: a number of layers at its most valuable sensor nodes."""

    nodes: int
    layers: int


class _Frontier(NamedTuple):
    """Choices that no cheaper choice equals in value, by ascending cost and value. The first one costs nothing.

    Attributes:
        cost: (K,) in micro-units.
        value: (K,) predicted value.
        code: (K,) choices of the modalities so far, as the digits of one number.
    """

    cost: Integers
    value: Floats
    code: Integers

    @classmethod
    def of(cls, cost: Integers, value: Floats, code: Integers, room: int) -> _Frontier:
        """Keep those of choices by ascending cost that fit and that no earlier one equals in value."""
        value = value[:cost.searchsorted(room, side="right")]
        best = np.maximum.accumulate(value)
        rises = np.empty(len(best), np.bool_)
        rises[0] = True
        np.greater(best[1:], best[:-1], out=rises[1:])
        kept = rises.nonzero()[0]
        return cls(cost[kept], value[kept], code[kept])

    def plus(self, other: _Frontier, base: int, room: int) -> _Frontier:
        """Combine every choice with every choice of another modality, whose codes are below `base`."""
        cost = np.add.outer(self.cost, other.cost).ravel()
        order = cost.argsort(kind="stable")
        value, code = np.add.outer(self.value, other.value), np.add.outer(self.code * base, other.code)
        return self.of(cost[order], value.ravel()[order], code.ravel()[order], room)

    def best_with(self, other: _Frontier, room: int) -> tuple[int, int]:
        """Return the codes of the most valuable pair that fits; of equal ones the cheapest."""
        place = other.cost.searchsorted(room - self.cost, side="right") - 1
        value = self.value + other.value[place]
        equal = np.flatnonzero(value == value.max())
        pick = equal[(self.cost + other.cost[place])[equal].argmin()]
        return int(self.code[pick]), int(other.code[place[pick]])


def allocate_by_value(assessment: Assessment, present_nodes: PresentNodes, table: LayerCosts, budget: Budget,
                      *, requested: Budget | None = None) -> Allocation:
    """Choose the sensor nodes and depths of highest total value within a budget; of equal values, the cheapest.

    The first layer of a modality comes first, then those of highest score. The total value never falls when the budget
    grows. If a layer fits at some sensor node, at least one layer runs. A sensor node that costs nothing more runs with
    the others: in layers, all present ones. Values that are not finite count as 0, and a deeper choice counts at least
    as much as a shallower one.

    Args:
        assessment: value of every input and depth, and scores, of every modality that can run.
        present_nodes: present sensor nodes per modality; modalities that are not named have none.
        table: cost table.
        budget: budget in the unit of the table.
        requested: budget before unit conversion; None if it was not converted.

    Raises:
        InputError: as `admn_ros.model.allocation.allocate`, or values are missing.
    """
    ledger = CostLedger.open(present_nodes, table, budget)
    candidates = ledger.runnable_alone
    if not candidates:
        least = min(map(ledger.cheapest, ledger.available), default=0)
        needed = table.amount(table.base(ledger.present) + least)
        return settle(ledger, {}, ledger.available, requested,
                      f"one layer of one input needs {needed:.12g} {table.unit}")
    values = {m: _values(assessment, m, ledger) for m in ledger.available}
    chosen = _best(ledger, {m: values[m] for m in candidates})
    if not chosen:  # nothing is worth anything: still an estimate rather than none
        chosen = _cheapest(ledger, candidates)
    active = {m: top_layers(assessment.scores.get(m, ()), table.modalities[m].depth, c.layers)
              for m, c in chosen.items()}
    # A stable order: of equal sensor nodes, the first ones run.
    nodes = {m: sorted(ledger.nodes[m][i] for i in (-values[m][:, c.layers - 1]).argsort(kind="stable")[:c.nodes])
             for m, c in chosen.items()}
    curves = {(m, node): curve for m, x in values.items()
              for node, curve in zip(ledger.nodes[m], x.tolist(), strict=True)}
    wanted = [m for m in ledger.available if m in chosen or values[m].any()]
    return settle(ledger, active, wanted, requested, nodes=nodes, curves=curves,
                  explain=partial(explain, names=assessment.sensor_nodes))


def _values(assessment: Assessment, modality: Modality, ledger: CostLedger) -> Floats:
    """Return the values (present sensor nodes, depth) of an available modality, ascending in depth and not below 0."""
    costs = ledger.table.modalities[modality]
    try:
        found = np.asarray(assessment.values.get(modality, ()), np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (costs.nodes, costs.depth):
        raise InputError(f"values of {modality}", f"shape {found.shape}",
                         f"{(costs.nodes, costs.depth)}, one for each sensor node and depth; `admn train value` trains "
                         "their prediction")
    here = found[list(ledger.nodes[modality])]
    return np.maximum.accumulate(np.where((here > 0) & (here < np.inf), here, 0.0), axis=1)


def _best(ledger: CostLedger, values: Mapping[Modality, Floats]) -> dict[Modality, _Choice]:
    """Return the most valuable choice of each modality; those that run nothing are left out."""
    sizes = {m: x.size + 1 for m, x in values.items()}
    names = list(values)
    halves = names[:len(names) // 2], names[len(names) // 2:]
    nothing = _Frontier(np.zeros(1, np.int64), np.zeros(1), np.zeros(1, np.int64))
    merged = []
    for half in halves:
        total = nothing
        for m in half:
            choices = _choices(ledger, m, values[m])
            total = choices if total is nothing else total.plus(choices, sizes[m], ledger.room)
        merged.append(total)
    chosen = {}
    for half, found in zip(halves, merged[0].best_with(merged[1], ledger.room), strict=True):
        code = found
        for m in reversed(half):
            code, digit = divmod(code, sizes[m])
            if digit:
                fewer, layers = divmod(digit - 1, values[m].shape[1])
                chosen[m] = _Choice(len(values[m]) - fewer, layers + 1)
    return {m: chosen[m] for m in names if m in chosen}


def _choices(ledger: CostLedger, modality: Modality, values: Floats) -> _Frontier:
    """Return the choices of one modality. Codes: 0 is nothing; then all depths at all sensor nodes, one fewer, ..."""
    cost, code = _prices(ledger.table.modalities[modality], len(values))
    value = np.zeros(values.size + 1)
    value[1:] = np.sort(values, axis=0)[::-1].cumsum(axis=0)[::-1].ravel()
    return _Frontier.of(cost, value[code], code, ledger.room)


@lru_cache(maxsize=256)
def _prices(costs: ModalityCosts, nodes: int) -> tuple[Integers, Integers]:
    """Return costs and codes of all choices of a modality with a number of present sensor nodes, by ascending cost."""
    embedding, layer = (np.array(part[:nodes][::-1], np.int64)[:, None] for part in (costs.embedding, costs.layer))
    cost = np.append(0, embedding + layer * np.arange(1, costs.depth + 1))
    code = cost.argsort(kind="stable")  # of equal costs, more sensor nodes come first
    return cost[code], code


def _cheapest(ledger: CostLedger, candidates: list[Modality]) -> dict[Modality, _Choice]:
    """Return the cheapest choice that runs a layer, at as many sensor nodes as it pays for."""
    _, _, index, nodes = min((ledger.table.modalities[m].backbone(1, n), -n, i, n) for i, m in enumerate(candidates)
                             for n in range(1, ledger.present[m] + 1))
    return {candidates[index]: _Choice(nodes, 1)}
