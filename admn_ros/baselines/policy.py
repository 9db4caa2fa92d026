# SPDX-License-Identifier: Apache-2.0
"""What decides a frame's layers, and how a decision made without a controller is kept within the budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import LayerCosts
from admn_ros.errors import InputError
from admn_ros.model.allocation import Allocation, Reason
from admn_ros.sample import Modality

Counts = Mapping[Modality, int]
"""Executed layers per modality. A modality that is not named has none."""


class AllocationPolicy(Protocol):
    """Decides the layers of one frame. `admn_ros.model.allocation.allocate` is one.

    Every policy keeps that function's contract: the frame's whole cost is at most the budget, for
    every input; a modality without present sensor nodes gets nothing; layers come ascending and the
    first layer is among them; the same arguments give the same allocation. The books charge the
    controller's look at every available modality also to policies that do not ask it, so that all
    policies share one table and the engine may run the controller beside any of them.
    """

    def __call__(self, scores: Mapping[Modality, Sequence[float]], qoi: Mapping[Modality, float],
                 present_nodes: Mapping[Modality, int], table: LayerCosts, budget: Budget, *,
                 requested: Budget | None = None) -> Allocation:
        """Choose the layers of one frame. Arguments and errors as `allocate`."""
        ...


@dataclass(frozen=True)
class Books:
    """The arithmetic of one frame, in whole micro-units.

    present: present sensor nodes of every modality of the table, in its order.
    room: what layers and entries may cost together; negative when the budget does not hold even the
        fixed part.
    """

    present: Mapping[Modality, int]
    table: LayerCosts
    budget: Budget
    requested: Budget
    room: int

    @classmethod
    def open(cls, present_nodes: Mapping[Modality, int], table: LayerCosts, budget: Budget,
             requested: Budget | None = None) -> Books:
        """Check the frame and see what it may spend.

        Raises:
            InputError: the units differ, a modality is not in the table, or a count is out of range.
        """
        for modality, count in present_nodes.items():
            if modality not in table.modalities:
                raise InputError("modality", modality, ", ".join(map(str, table.modalities)))
            if not 0 <= count <= table.modalities[modality].nodes:
                raise InputError(f"present sensor nodes of {modality}", count,
                                 f"0 to {table.modalities[modality].nodes}")
        present = {m: present_nodes.get(m, 0) for m in table.modalities}
        room = table.room(budget, present) - table.base(present)
        return cls(present, table, budget, requested or budget, room)

    @property
    def available(self) -> list[Modality]:
        """Modalities with a present sensor node, in the model's order."""
        return [m for m, n in self.present.items() if n]

    def price(self, counts: Counts) -> int:
        """What the counted layers of available modalities cost, beyond fixed part and looks."""
        return sum(self._use(m, k) for m, k in counts.items())

    def affords(self, counts: Counts) -> bool:
        """Whether the counts need no missing modality and fit."""
        return all(self.present[m] for m, k in counts.items() if k) and self.price(counts) <= self.room

    def settle(self, active: Mapping[Modality, Iterable[int]], wanted: Sequence[Modality]) -> Allocation:
        """The allocation that runs exactly these layers.

        Args:
            active: layers per modality; none of a missing modality.
            wanted: available modalities the policy would use if the budget were large enough.

        Raises:
            InputError: the layers do not exist or cost more than the budget: a policy that is wrong
                must not overspend silently.
        """
        chosen = {m: tuple(sorted(set(active.get(m, ())))) for m in self.present}
        for m, layers in chosen.items():
            depth = self.table.modalities[m].depth if self.present[m] else 0
            if layers and not 0 <= layers[0] <= layers[-1] < depth:
                raise InputError(f"layers of {m}", layers, f"[0, {depth})")
        counts = {m: len(layers) for m, layers in chosen.items()}
        if not any(counts.values()):
            return self._nothing(wanted)
        if self.price(counts) > self.room:
            raise InputError("layers", f"a cost of {self.price(counts)} micro-units", f"at most {self.room}")
        dropped = [m for m in wanted if not counts[m]]
        text = f"{sum(counts.values())} of {sum(self._depth(m) for m in self.available)} available layers ran"
        if dropped:
            text += f"; the budget had no room for {', '.join(map(str, dropped))}"
        cost = {m: self._look(m) + self._use(m, k) for m, k in counts.items()}
        return self._result(chosen, cost, self.table.fixed + sum(cost.values()),
                            Reason.DEGRADED if dropped else Reason.ALLOCATED, f"{text}.")

    def _nothing(self, wanted: Sequence[Modality]) -> Allocation:
        reason, text = Reason.NO_INPUT, "Nothing ran: no modality that this policy uses is available."
        if wanted:
            reason, text = Reason.BELOW_FLOOR, "Nothing ran: the budget does not hold the least this policy runs."
        return self._result(dict.fromkeys(self.present, ()), dict.fromkeys(self.present, 0), 0, reason, text)

    def _result(self, active: Mapping[Modality, tuple[int, ...]], cost: Mapping[Modality, int], spent: int,
                reason: Reason, text: str) -> Allocation:
        amounts = {m: self.table.amount(c) for m, c in cost.items()}
        return Allocation(active, amounts, self.table.amount(spent), self.requested, float(self.budget.limit),
                          self.table.unit, reason, text)

    def _depth(self, modality: Modality) -> int:
        return self.table.modalities[modality].depth

    def _look(self, modality: Modality) -> int:
        n = self.present[modality]
        return self.table.modalities[modality].look[n - 1] if n else 0

    def _use(self, modality: Modality, layers: int) -> int:
        costs, n = self.table.modalities[modality], self.present[modality]
        return costs.entry[n - 1] + layers * costs.layer[n - 1] if layers and n else 0
