# SPDX-License-Identifier: Apache-2.0
"""Conversion of limits to layers, and of layers to watts."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

from admn_ros.budget.budget import MICRO, Budget, exact
from admn_ros.budget.costs import LayerCosts
from admn_ros.errors import InputError
from admn_ros.model.costs import ModelCosts


def worst_costs(table: LayerCosts) -> tuple[int, ...]:
    """Return the largest cost of 0, 1, 2, ... layers over all allocations, in micro-units.

    Each modality is present on the most expensive number of sensor nodes, and the layers are the most expensive ones.
    As many modalities are embedded as there are layers.
    """
    modalities = table.modalities.values()
    base = table.fixed + sum(max(m.controller) for m in modalities)
    layers = [0, *accumulate(sorted((max(m.layer) for m in modalities for _ in range(m.depth)), reverse=True))]
    entries = [0, *accumulate(sorted((max(m.embedding) for m in modalities), reverse=True))]
    return tuple(base + layer + entries[min(n, len(entries) - 1)] for n, layer in enumerate(layers))


class LayerEquivalent:
    """Conversion of a budget in any unit to the number of layers that fit in every allocation.

    Args:
        costs: cost tables of the model; with None only budgets in layers can be converted.
        max_layers: number of layers of the model, used if `costs` is None.
    """

    def __init__(self, costs: ModelCosts | None, max_layers: int) -> None:
        self._costs, self._worst = costs, dict[str, tuple[int, ...]]()
        self.max_layers = max_layers if costs is None else len(worst_costs(costs.table("layers"))) - 1

    def layers(self, budget: Budget, frame_rate_hz: float) -> int:
        """Return the largest number of layers whose cost is within the budget in every allocation.

        Args:
            budget: budget to convert.
            frame_rate_hz: frames per second, for a budget in watts.

        Returns:
            Range [0, max_layers].

        Raises:
            InputError: there are no costs in the unit of the budget.
        """
        if budget.unit == "layers":
            return self.max_layers if budget.limit >= self.max_layers else math.floor(budget.limit)
        if self._costs is None:
            raise InputError("unit", budget.unit, "layers (other units need a model with measured costs)")
        asked, budget = budget.unit, budget.per_frame(frame_rate_hz)
        try:
            table = self._costs.table(budget.unit)
        except InputError as error:
            raise InputError(error.field, asked, error.allowed) from error
        if math.isinf(budget.limit):
            return self.max_layers
        if table.unit not in self._worst:
            self._worst[table.unit] = worst_costs(table)
        return max(0, bisect_right(self._worst[table.unit], math.floor(exact(budget.limit) * MICRO[table.unit])) - 1)


@dataclass(frozen=True)
class PowerModel:
    """Power of the perception as a function of layers: `base_w + layer_w * layers`.

    Attributes:
        base_w: power without layers, in watts.
        layer_w: power of one layer, in watts, above 0.
    """

    base_w: float
    layer_w: float

    @classmethod
    def of(cls, base_j: float, layer_j: float, frame_rate_hz: float) -> PowerModel:
        """Return the model for energies in joules per frame and per layer."""
        return cls(base_j * frame_rate_hz, layer_j * frame_rate_hz)

    def watts(self, layers: float) -> float:
        """Return the power in watts; 0 for no layers, because then nothing runs."""
        return self.base_w + self.layer_w * layers if layers > 0 else 0.0

    def layers(self, watts: float) -> float:
        """Return the number of layers for a power in watts, at least 0."""
        return max(0.0, (watts - self.base_w) / self.layer_w)


def frame_energy(costs: ModelCosts | None) -> tuple[float, float] | None:
    """Return the energy of a frame without its layers and that of a mean layer, in joules; None if not measured.

    All sensor nodes count as present.
    """
    if costs is None or "joules" not in costs.units:
        return None
    table = costs.table("joules")
    modalities = table.modalities.values()
    base = table.fixed + sum(m.controller[-1] + m.embedding[-1] for m in modalities)
    mean = sum(m.depth * m.layer[-1] for m in modalities) / max(1, sum(m.depth for m in modalities))
    return (table.amount(base), mean / MICRO["joules"]) if mean > 0 else None
