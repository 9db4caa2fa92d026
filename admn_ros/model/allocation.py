# SPDX-License-Identifier: Apache-2.0
"""The allocator: the one place where scores meet the budget. It never overspends.

`allocate` decides at inference, in integers. `gumbel_top_l` decides in training, with gradients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from admn_ros.budget.budget import Budget, CostUnit
from admn_ros.budget.costs import LayerCosts
from admn_ros.errors import InputError
from admn_ros.sample import Modality


class Reason(str, Enum):
    """Why an allocation looks as it does; `LayerAllocation.msg` has the same names.

    ALLOCATED: every available modality got its first layer, the rest went by score.
    DEGRADED: the budget did not hold every first layer; whole modalities were dropped.
    BELOW_FLOOR: the budget does not hold one layer of one modality; nothing runs.
    NO_INPUT: no modality is available; nothing runs.
    """

    ALLOCATED = "allocated"
    DEGRADED = "degraded"
    BELOW_FLOOR = "below_floor"
    NO_INPUT = "no_input"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Allocation:
    """Which layers a frame runs and what that costs.

    active: executed layers of every modality of the model, ascending; empty when not used.
    cost: what each modality spends, in the granted unit. An available modality that was dropped
        still spends the controller's look at it.
    spent: what the whole frame spends, range [0, granted_limit]; 0 when nothing runs.
    requested: the budget as it was asked.
    granted_limit, granted_unit: the budget the allocator worked with.
    reason_text: the reason in one sentence.
    """

    active: Mapping[Modality, tuple[int, ...]]
    cost: Mapping[Modality, float]
    spent: float
    requested: Budget
    granted_limit: float
    granted_unit: CostUnit
    reason: Reason
    reason_text: str

    @property
    def layers(self) -> int:
        """Executed layers of all modalities together."""
        return sum(map(len, self.active.values()))


def runnable(present_nodes: Mapping[Modality, int], table: LayerCosts, budget: Budget) -> list[Modality]:
    """Available modalities of which the budget holds the first layer, were it the only one to run.

    None of them: nothing can run, whatever the scores, and the controller need not be asked.

    Raises:
        InputError: as `allocate`.
    """
    present = _checked(present_nodes, table)
    room = table.room(budget, present) - table.base(present)
    return [m for m, n in present.items() if n and table.modalities[m].floor(n) <= room]


def allocate(scores: Mapping[Modality, Sequence[float]], qoi: Mapping[Modality, float],
             present_nodes: Mapping[Modality, int], table: LayerCosts, budget: Budget, *,
             requested: Budget | None = None) -> Allocation:
    """Choose the layers of one frame within a budget. Pure and deterministic.

    1. A modality without present sensor nodes gets nothing and costs nothing.
    2. A modality whose first layer alone does not fit cannot run. If none can: BELOW_FLOOR.
    3. Each of the others gets its first layer (paper Section A.7). If these do not fit together,
       whole modalities are dropped, worst QoI first, of equals the later one in the model's order.
    4. The rest of the budget goes to layers by descending score, each taken if it still fits; of
       equals the earlier modality, then the lower index. With equal costs this is the paper's top-L.

    Args:
        scores: one score for each layer of every modality that can run. Not finite counts as worst.
        qoi: quality of every modality that can run, higher is better. Not finite counts as worst.
        present_nodes: number of present sensor nodes; a modality that is not named has none.
        table: what things cost.
        budget: in the unit of the table.
        requested: the budget as it was asked, when it was converted.

    Raises:
        InputError: the units differ, a modality is not in the table, a count is out of range, or
            scores or QoI are absent.
    """
    present = _checked(present_nodes, table)
    frame = _Frame(present, table, budget, requested or budget)
    candidates = runnable(present, table, budget)
    if not candidates:
        return frame.nothing()
    room = table.room(budget, present) - table.base(present)
    floors = {m: table.modalities[m].floor(present[m]) for m in candidates}
    kept = _keep_best(floors, _qualities(qoi, candidates), room)
    room -= sum(floors[m] for m in kept)
    active = {m: [0] if m in kept else [] for m in table.modalities}
    for modality, layer in _by_score(scores, kept, table):
        price = table.modalities[modality].layer[present[modality] - 1]
        if price <= room:
            room -= price
            active[modality].append(layer)
    return frame.something({m: tuple(sorted(layers)) for m, layers in active.items()})


def gumbel_top_l(logits: Mapping[Modality, Tensor], available: Mapping[Modality, Tensor], k: int | Tensor,
                 tau: float = 1.0, generator: torch.Generator | None = None) -> dict[Modality, Tensor]:
    """Choose L layers per sample with gradients to the logits (Sections 3.4.3 and A.2).

    Gumbel-softmax with standard Gumbel noise over all layers that are free to choose, then the top L,
    with the straight-through gradient of the softmax. The first layer of each available modality is
    always on and takes no part in the softmax. A modality that is to be dropped is one that is not
    available.

    Args:
        logits: (B, depth) per modality.
        available: (B,) bool per modality.
        k: layers per sample, first layers included; one number or (B,).
        tau: temperature above 0; the paper's is 1.
        generator: source of the noise, on the device of the logits.

    Returns:
        Masks (B, depth) per modality, exactly 0 or 1, that sum to min(k, layers available) per sample.

    Raises:
        InputError: tau is not above 0, or k does not hold the first layers.
    """
    if not tau > 0:
        raise InputError("tau", tau, "a number above 0")
    flat = torch.cat(list(logits.values()), dim=1)
    usable = torch.cat([available[m][:, None].expand_as(x) for m, x in logits.items()], dim=1)
    first = torch.zeros_like(usable)
    depths = [x.shape[1] for x in logits.values()]
    first[:, [sum(depths[:i]) for i in range(len(depths))]] = True
    always, free = usable & first, usable & ~first
    spare = torch.as_tensor(k, device=flat.device) - always.sum(dim=1)
    if bool((spare < 0).any()):
        raise InputError("k", k, "at least one layer for each available modality of every sample")

    # Minus the log of an exponential variable is standard Gumbel; the clamp guards log(0).
    exponential = torch.empty_like(flat).exponential_(generator=generator).clamp_min(torch.finfo(flat.dtype).tiny)
    # Not -inf: a sample without free layers would make the softmax and its gradient NaN.
    lowest = torch.finfo(flat.dtype).min / 2
    noisy = ((flat - exponential.log()) / tau).masked_fill(~free, lowest)
    soft = torch.where(free, noisy.softmax(dim=1), torch.zeros_like(flat))
    rank = noisy.detach().argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    hard = (always | (free & (rank < spare[:, None]))).to(flat.dtype)
    # In this order the difference is exactly zero, so the masks stay exactly 0 and 1.
    masks = torch.split(hard + (soft - soft.detach()), depths, dim=1)
    return dict(zip(logits, masks, strict=True))


def _checked(present_nodes: Mapping[Modality, int], table: LayerCosts) -> dict[Modality, int]:
    """Present sensor nodes of every modality of the table, in its order."""
    for modality, count in present_nodes.items():
        if modality not in table.modalities:
            raise InputError("modality", modality, ", ".join(map(str, table.modalities)))
        if not 0 <= count <= table.modalities[modality].nodes:
            raise InputError(f"present sensor nodes of {modality}", count,
                             f"0 to {table.modalities[modality].nodes}")
    return {m: present_nodes.get(m, 0) for m in table.modalities}


def _qualities(qoi: Mapping[Modality, float], candidates: Sequence[Modality]) -> dict[Modality, float]:
    for modality in candidates:
        if modality not in qoi:
            raise InputError("qoi", "none", f"the QoI of {modality}, which is available")
    return {m: _or_worst(qoi[m]) for m in candidates}


def _keep_best(floors: Mapping[Modality, int], quality: Mapping[Modality, float], room: int) -> list[Modality]:
    """Drop modalities, worst first, until the first layers of the others fit."""
    kept = sorted(floors, key=lambda m: -quality[m])  # stable: of equals the later one is dropped first
    while sum(floors[m] for m in kept) > room:
        kept.pop()
    return kept


def _by_score(scores: Mapping[Modality, Sequence[float]], kept: Sequence[Modality],
              table: LayerCosts) -> list[tuple[Modality, int]]:
    """Layers above the first of the kept modalities, best score first."""
    ranked: list[tuple[float, Modality, int]] = []
    for modality, costs in table.modalities.items():
        if modality not in kept:
            continue
        values = scores.get(modality, ())
        if len(values) != costs.depth:
            raise InputError(f"scores of {modality}", f"{len(values)} numbers", f"{costs.depth}, one for each layer")
        ranked += [(_or_worst(values[i]), modality, i) for i in range(1, costs.depth)]
    ranked.sort(key=lambda entry: -entry[0])  # stable: ties stay in the model's order
    return [(modality, i) for _, modality, i in ranked]


def _or_worst(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


@dataclass(frozen=True)
class _Frame:
    """What an allocation is reported against."""

    present: Mapping[Modality, int]
    table: LayerCosts
    budget: Budget
    requested: Budget

    def something(self, active: Mapping[Modality, tuple[int, ...]]) -> Allocation:
        dropped = [m for m, n in self.present.items() if n and not active[m]]
        held = sum(c.depth for m, c in self.table.modalities.items() if self.present[m])
        text = f"{sum(map(len, active.values()))} of {held} available layers ran"
        if dropped:
            text += f"; the budget had no room for the first layer of {', '.join(map(str, dropped))}"
        cost = {m: self._cost(m, len(layers)) for m, layers in active.items()}
        spent = self.table.fixed + sum(cost.values())
        return self._result(active, cost, spent, Reason.DEGRADED if dropped else Reason.ALLOCATED, f"{text}.")

    def nothing(self) -> Allocation:
        reason, text = Reason.NO_INPUT, "Nothing ran: no modality is available."
        floors = [self.table.modalities[m].floor(n) for m, n in self.present.items() if n]
        if floors:
            least = self.table.amount(self.table.base(self.present) + min(floors))
            reason = Reason.BELOW_FLOOR
            text = f"Nothing ran: one layer of one modality needs {least:.12g} {self.table.unit}."
        return self._result(dict.fromkeys(self.present, ()), dict.fromkeys(self.present, 0), 0, reason, text)

    def _cost(self, modality: Modality, layers: int) -> int:
        present, costs = self.present[modality], self.table.modalities[modality]
        if not present:
            return 0
        used = costs.entry[present - 1] + layers * costs.layer[present - 1] if layers else 0
        return costs.look[present - 1] + used

    def _result(self, active: Mapping[Modality, tuple[int, ...]], cost: Mapping[Modality, int], spent: int,
                reason: Reason, text: str) -> Allocation:
        amounts = {m: self.table.amount(c) for m, c in cost.items()}
        return Allocation(active, amounts, self.table.amount(spent), self.requested,
                          float(self.budget.limit), self.table.unit, reason, text)
