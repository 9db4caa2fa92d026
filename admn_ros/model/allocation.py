# SPDX-License-Identifier: Apache-2.0
"""The allocator: layer scores and a budget to the layers that run, never above the budget.

`allocate` works at inference, in integers; `gumbel_top_l` in training, with gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy.typing as npt
import torch
from torch import Tensor

from admn_ros.budget.budget import Budget, CostUnit
from admn_ros.budget.costs import CostLedger, Counts, LayerCosts, PresentNodes
from admn_ros.errors import InputError
from admn_ros.sample import Modality


class Reason(str, Enum):
    """Outcome of an allocation, with the names of `LayerAllocation.msg`.

    ALLOCATED: every available modality has its first layer; the rest of the budget went to layers by score.
    DEGRADED: the budget is below the cost of all first layers; whole modalities were dropped.
    BELOW_FLOOR: the budget is below the cost of one layer of one modality; nothing runs.
    NO_INPUT: no modality is available; nothing runs.
    """

    ALLOCATED = "allocated"
    DEGRADED = "degraded"
    BELOW_FLOOR = "below_floor"
    NO_INPUT = "no_input"

    def __str__(self) -> str:
        return self.value


class Why(str, Enum):
    """Why an input ran or did not run."""

    RAN = "ran"
    NO_READING = "no reading"
    DOES_NOT_FIT = "does not fit into the budget"
    LEFT_OUT = "left out by the policy"
    WORTHLESS = "its predicted value is 0"
    OUTBID = "what ran is worth more"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class InputChoice:
    """What an allocation decided about one input, a modality at a sensor node.

    Attributes:
        modality: modality of the input.
        node: index of its sensor node in the model's order.
        value: predicted value of what ran, or of its first layer if it did not run; NaN if the policy predicts none.
        cost: cost of embedding and layers in the granted unit. If it ran, an equal share among sensor nodes; if not,
            what its first layer alone would have cost; 0 if there is no reading. The controller is not included.
        why: why it ran or not; printed as a few words.
    """

    modality: Modality
    node: int
    value: float
    cost: float
    why: Why

    @property
    def ran(self) -> bool:
        """Whether it ran."""
        return self.why is Why.RAN


Curves = Mapping[tuple[Modality, int], Sequence[float]]
"""Predicted value of 1, 2, ... layers, ascending, of each available input."""
Explain = Callable[[Mapping[Modality, Sequence[int]], Sequence[InputChoice]], str]
"""Makes one line of the executed layers and of what was decided about each input."""


@dataclass(frozen=True)
class Allocation:
    """Layers that a frame runs, and their cost.

    Attributes:
        active: executed layers of every modality of the model, ascending; empty if the modality is not used.
        cost: cost of each modality in the granted unit; a dropped modality still has the cost of the controller.
        spent: cost of the whole frame in [0, granted_limit]; 0 if nothing runs.
        requested: budget before unit conversion.
        granted_limit: limit that the allocator used.
        granted_unit: unit of the limit and of all costs.
        reason: outcome of the allocation.
        reason_text: the outcome in one sentence.
        nodes: sensor nodes that run, of every modality of the model, as indices in the model's order, ascending; empty
            if the modality is not used. Without any entry, all present ones run.
        inputs: what was decided about each input: sensor nodes in order for each modality in order; empty if the policy
            does not say.
    """

    active: Mapping[Modality, tuple[int, ...]]
    cost: Mapping[Modality, float]
    spent: float
    requested: Budget
    granted_limit: float
    granted_unit: CostUnit
    reason: Reason
    reason_text: str
    nodes: Mapping[Modality, tuple[int, ...]] = field(default_factory=dict)
    inputs: tuple[InputChoice, ...] = ()

    @property
    def layers(self) -> int:
        """Number of executed layers of all modalities together."""
        return sum(map(len, self.active.values()))


@dataclass(frozen=True)
class Assessment:
    """Output of the controller for one frame, from which a policy allocates.

    Attributes:
        scores: score of each layer of every modality.
        qoi: quality of each modality, higher is better.
        values: (N, depth) per modality: predicted value of running the first 1, 2, ... layers at each sensor node, for
            the objective of the user (`admn_ros.model.value.head`); empty if the model does not predict it.
        sensor_nodes: their names, for explanations; empty to number them from 1.
    """

    scores: Mapping[Modality, Sequence[float]] = field(default_factory=dict)
    qoi: Mapping[Modality, float] = field(default_factory=dict)
    values: Mapping[Modality, npt.ArrayLike] = field(default_factory=dict)
    sensor_nodes: Sequence[str] = ()


def allocate(assessment: Assessment, present_nodes: PresentNodes, table: LayerCosts, budget: Budget, *,
             requested: Budget | None = None) -> Allocation:
    """Choose the layers of one frame within a budget. Pure and deterministic.

    1. A modality without present sensor nodes gets no layers and costs nothing.
    2. A modality whose first layer alone does not fit cannot run. If none can run, the outcome is BELOW_FLOOR.
    3. Each of the others gets its first layer (paper Section A.7). If these do not fit together, whole modalities are
       dropped: the one with the lowest QoI first, among equals the last in the model's order.
    4. The rest of the budget goes to layers by descending score; each layer is taken if it still fits. Among equals,
       the earlier modality comes first, then the lower index. With equal costs this is the paper's top-L.

    Args:
        assessment: scores and QoI of every modality that can run; values that are not finite count as lowest.
        present_nodes: present sensor nodes per modality; modalities that are not named have none.
        table: cost table.
        budget: budget in the unit of the table.
        requested: budget before unit conversion; None if it was not converted.

    Raises:
        InputError: the units differ, a modality is not in the table, sensor nodes are out of range, or scores or QoI
            are missing.
    """
    ledger = CostLedger.open(present_nodes, table, budget)
    candidates = ledger.runnable
    if not candidates:
        least = min(map(ledger.floor, ledger.available), default=0)
        needed = table.amount(table.base(ledger.present) + least)
        return settle(ledger, {}, ledger.available, requested,
                      f"one layer of one modality needs {needed:.12g} {table.unit}")
    room = ledger.room
    floors = {m: ledger.floor(m) for m in candidates}
    kept = _keep_best(floors, _qualities(assessment.qoi, candidates), room)
    room -= sum(floors[m] for m in kept)
    active = {m: [0] for m in kept}
    for modality, layer in _by_score(assessment.scores, kept, table):
        cost = ledger.layer(modality)
        if cost <= room:
            room -= cost
            active[modality].append(layer)
    return settle(ledger, active, ledger.available, requested)


def settle(ledger: CostLedger, active: Mapping[Modality, Iterable[int]], wanted: Sequence[Modality],
           requested: Budget | None = None, below_floor: str = "the budget is below the least that the policy runs",
           nodes: Mapping[Modality, Sequence[int]] | None = None, curves: Curves | None = None,
           explain: Explain | None = None) -> Allocation:
    """Return the allocation that runs exactly these layers, with its costs and its reason.

    Args:
        ledger: the frame and its budget.
        active: layers per modality; a modality that is not named has none.
        wanted: available modalities that the policy uses if the budget is large enough.
        requested: budget before unit conversion; None if it was not converted.
        below_floor: why nothing runs although wanted modalities are available.
        nodes: sensor nodes that run the layers of each modality; None for all present ones.
        curves: predicted values of the available inputs; None if the policy predicts none.
        explain: makes the outcome in one line, if layers run; None for that of `allocate`.

    Raises:
        InputError: a layer does not exist, its modality or a sensor node is missing, or the layers cost more than the
            budget. A faulty policy must not overspend silently.
    """
    chosen = {m: tuple(sorted(set(active.get(m, ())))) for m in ledger.present}
    for m, layers in chosen.items():
        depth = ledger.table.modalities[m].depth if ledger.present[m] else 0
        if layers and not 0 <= layers[0] <= layers[-1] < depth:
            raise InputError(f"layers of {m}", layers, f"[0, {depth})")
    counts = {m: len(layers) for m, layers in chosen.items()}
    running = _running(ledger, counts, nodes)
    used = {m: len(found) for m, found in running.items()}
    spent = ledger.price(counts, used)
    if spent > ledger.limit:
        raise InputError("layers", f"a cost of {spent} micro-units", f"at most {ledger.limit}")
    costs = ledger.costs(counts, used) if any(counts.values()) else dict.fromkeys(chosen, 0.0)
    inputs = tuple(i for m, count in counts.items()
                   for i in _inputs(ledger, m, count, running[m], m in wanted, curves))
    outcome, text = _reason(ledger, counts, wanted, below_floor)
    if explain is not None and any(counts.values()):
        text = explain(chosen, inputs)
    return Allocation(chosen, costs, ledger.table.amount(spent), requested or ledger.budget, float(ledger.budget.limit),
                      ledger.table.unit, outcome, text, running, inputs)


def _running(ledger: CostLedger, counts: Counts,
             nodes: Mapping[Modality, Sequence[int]] | None) -> dict[Modality, tuple[int, ...]]:
    """Return the sensor nodes that run, of every modality."""
    running = {}
    for m, present in ledger.nodes.items():
        wanted = () if not counts[m] else present if nodes is None else nodes.get(m, ())
        running[m] = tuple(node for node in present if node in wanted)
        if len(running[m]) != len(wanted) or bool(counts[m]) != bool(wanted):
            raise InputError(f"sensor nodes of {m}", tuple(wanted), f"at least one of {present}, once each")
    return running


def _inputs(ledger: CostLedger, modality: Modality, count: int, used: Sequence[int], wanted: bool,
            curves: Curves | None) -> Iterator[InputChoice]:
    """Yield what was decided about the inputs of a modality: `count` layers at the `used` sensor nodes."""
    costs, present, amount = ledger.table.modalities[modality], ledger.nodes[modality], ledger.table.amount
    share = amount(costs.backbone(count, len(used))) / max(1, len(used))
    alone, too_dear = amount(costs.backbone(1, 1)), bool(present) and ledger.cheapest(modality) > ledger.room
    for node in range(costs.nodes):
        if node not in present:
            yield InputChoice(modality, node, math.nan, 0.0, Why.NO_READING)
            continue
        curve = None if curves is None else curves[modality, node]
        if node in used:
            yield InputChoice(modality, node, math.nan if curve is None else curve[count - 1], share, Why.RAN)
        elif curve is None:
            why = Why.DOES_NOT_FIT if wanted and not used else Why.LEFT_OUT
            yield InputChoice(modality, node, math.nan, alone, why)
        else:
            why = Why.DOES_NOT_FIT if too_dear else Why.OUTBID if curve[-1] > 0 else Why.WORTHLESS
            yield InputChoice(modality, node, curve[0], alone, why)


def top_layers(scores: Sequence[float], depth: int, count: int) -> tuple[int, ...]:
    """Return the first layer and the `count` - 1 others of highest score, ascending.

    Among equals the earlier layer comes first; scores that are not finite count as lowest. Without scores: the first
    layers.
    """
    if not scores or count in (1, depth):
        return tuple(range(count))
    worst_last = [-_or_worst(score) for score in scores]
    others = sorted(range(1, depth), key=worst_last.__getitem__)
    return tuple(sorted([0, *others][:count]))


def gumbel_top_l(logits: Mapping[Modality, Tensor], available: Mapping[Modality, Tensor], k: int | Tensor,
                 tau: float = 1.0, generator: torch.Generator | None = None,
                 prices: Mapping[Modality, int] | None = None, noise: float = 1.0) -> dict[Modality, Tensor]:
    """Choose L layers per sample with gradients to the logits (paper Sections 3.4.3 and A.2).

    Gumbel-softmax with standard Gumbel noise over all layers but the first ones, then the top L, with the
    straight-through gradient of the softmax. The first layer of each available modality is always active and takes no
    part in the softmax. To drop a modality, mark it as not available.

    Args:
        logits: (B, depth) per modality.
        available: (B,) bool per modality.
        k: number of layers per sample, first layers included; one number or (B,).
        tau: temperature above 0; 1 in the paper.
        generator: random generator on the device of the logits.
        prices: cost of a layer of each modality, in the unit of `k`; None counts each as 1. Of unequal layers each is
            taken, by descending score, if it still fits, as in `allocate`.
        noise: scale of the noise; 1 in the paper, 0.1 in the official code.

    Returns:
        Masks (B, depth) per modality, exactly 0 or 1, with a sum of min(k, available layers) per sample; with prices,
        of a cost of at most k.

    Raises:
        InputError: tau is not above 0, or k is below the number of first layers.
    """
    if not tau > 0:
        raise InputError("tau", tau, "a number above 0")
    flat = torch.cat(list(logits.values()), dim=1)
    usable = torch.cat([available[m][:, None].expand_as(x) for m, x in logits.items()], dim=1)
    first = torch.zeros_like(usable)
    depths = [x.shape[1] for x in logits.values()]
    first[:, [sum(depths[:i]) for i in range(len(depths))]] = True
    always, free = usable & first, usable & ~first
    price = torch.tensor([(prices or {}).get(m, 1) for m, x in logits.items() for _ in range(x.shape[1])],
                         device=flat.device)
    spare = torch.as_tensor(k, device=flat.device) - (always * price).sum(dim=1)
    if bool((spare < 0).any()):
        raise InputError("k", k, "at least one layer for each available modality of every sample")

    # Minus the logarithm of an exponential variable is standard Gumbel noise; the clamp avoids log(0).
    exponential = torch.empty_like(flat).exponential_(generator=generator).clamp_min(torch.finfo(flat.dtype).tiny)
    # Not -inf: the softmax of a sample without free layers, and its gradient, would be NaN.
    lowest = torch.finfo(flat.dtype).min / 2
    noisy = ((flat - noise * exponential.log()) / tau).masked_fill(~free, lowest)
    soft = torch.where(free, noisy.softmax(dim=1), torch.zeros_like(flat))
    order = noisy.detach().argsort(dim=1, descending=True, stable=True)
    if prices is None:
        chosen = free & (order.argsort(dim=1) < spare[:, None])
    else:
        chosen = _affordable(order, free, price, spare)
    hard = (always | chosen).to(flat.dtype)
    # In this order of operations the difference is exactly zero, and the masks are exactly 0 and 1.
    masks = torch.split(hard + (soft - soft.detach()), depths, dim=1)
    return dict(zip(logits, masks, strict=True))


def _affordable(order: Tensor, free: Tensor, price: Tensor, spare: Tensor) -> Tensor:
    """Take free layers (B, C) in an order (B, C), each if its price (C,) fits what is left of `spare` (B,)."""
    taken, left = torch.zeros_like(free), spare[:, None].clone()
    for place in range(order.shape[1]):
        layer = order[:, place:place + 1]
        fits = free.gather(1, layer) & (price[layer] <= left)
        taken.scatter_(1, layer, fits)
        left = left - price[layer] * fits
    return taken


def _qualities(qoi: Mapping[Modality, float], candidates: Sequence[Modality]) -> dict[Modality, float]:
    for modality in candidates:
        if modality not in qoi:
            raise InputError.missing("qoi", f"the QoI of {modality}, which is available")
    return {m: _or_worst(qoi[m]) for m in candidates}


def _keep_best(floors: Mapping[Modality, int], quality: Mapping[Modality, float], room: int) -> list[Modality]:
    """Drop modalities, lowest quality first, until the first layers of the others fit."""
    kept = sorted(floors, key=lambda m: -quality[m])  # stable: among equals, the last one is dropped first
    while sum(floors[m] for m in kept) > room:
        kept.pop()
    return kept


def _by_score(scores: Mapping[Modality, Sequence[float]], kept: Sequence[Modality],
              table: LayerCosts) -> list[tuple[Modality, int]]:
    """Return the layers of the kept modalities except the first ones, highest score first."""
    ranked: list[tuple[float, Modality, int]] = []
    for modality, costs in table.modalities.items():
        if modality not in kept:
            continue
        values = scores.get(modality, ())
        if len(values) != costs.depth:
            raise InputError(f"scores of {modality}", f"{len(values)} values", f"{costs.depth}, one for each layer")
        ranked += [(_or_worst(values[i]), modality, i) for i in range(1, costs.depth)]
    ranked.sort(key=lambda entry: -entry[0])  # stable: ties stay in the model's order
    return [(modality, i) for _, modality, i in ranked]


def _or_worst(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _reason(ledger: CostLedger, counts: Counts, wanted: Sequence[Modality], below_floor: str) -> tuple[Reason, str]:
    """Explain an allocation."""
    if not any(counts.values()):
        if wanted:
            return Reason.BELOW_FLOOR, f"Nothing ran: {below_floor}."
        used = " that the policy uses" if ledger.available else ""
        return Reason.NO_INPUT, f"Nothing ran: no modality{used} is available."
    held = sum(ledger.table.modalities[m].depth for m in ledger.available)
    text = f"{sum(counts.values())} of {held} available layers ran"
    dropped = [m for m in wanted if not counts[m]]
    if not dropped:
        return Reason.ALLOCATED, f"{text}."
    return Reason.DEGRADED, f"{text}; the budget had no room for the first layer of {', '.join(map(str, dropped))}."
