# SPDX-License-Identifier: Apache-2.0
"""What a frame costs, in whole micro-units, so that adding and comparing are exact.

A budget rounds down to micro-units and a cost rounds up: rounding never overspends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from admn_ros.budget.budget import MICRO, Budget, CostUnit, exact
from admn_ros.config import Count, NotNegative, Positive, Strict
from admn_ros.errors import InputError
from admn_ros.sample import Modality


@dataclass(frozen=True)
class ModalityCosts:
    """What one modality costs. Each tuple is indexed by the number of present sensor nodes, minus 1.

    depth: backbone layers.
    look: paid when the modality is available, used or not (the controller looks at it).
    entry: paid once when the modality is used (patch embedding, final norm, adapter).
    layer: paid for each executed backbone layer.
    """

    depth: int
    look: tuple[int, ...]
    entry: tuple[int, ...]
    layer: tuple[int, ...]

    def __post_init__(self) -> None:
        for field in ("look", "entry", "layer"):
            values: tuple[int, ...] = getattr(self, field)
            if len(values) != len(self.layer) or not values or min(values) < 0:
                raise InputError(field, values, "costs of at least 0, one for each number of present sensor nodes")

    @property
    def nodes(self) -> int:
        """Sensor nodes the model has."""
        return len(self.layer)

    def floor(self, present: int) -> int:
        """Cost of using the modality with its first layer only, beyond the look."""
        return self.entry[present - 1] + self.layer[present - 1]


@dataclass(frozen=True)
class LayerCosts:
    """Cost table of a model in one unit, in whole micro-units (`admn_ros.budget.budget.MICRO`).

    fixed: paid by every frame that runs (controller, fusion, heads).
    modalities: in the model's order.

    A frame costs fixed + look of each available modality + (entry + layer * executed layers) of each
    used one. Arguments named `present` map modalities to their number of present sensor nodes.
    """

    unit: CostUnit
    fixed: int
    modalities: Mapping[Modality, ModalityCosts]

    def base(self, present: Mapping[Modality, int]) -> int:
        """Cost of a frame before any modality is used."""
        return self.fixed + sum(self.modalities[m].look[n - 1] for m, n in present.items() if n)

    def total(self, present: Mapping[Modality, int]) -> int:
        """Cost of a frame that runs every layer of every available modality."""
        used = ((self.modalities[m], n) for m, n in present.items() if n)
        return self.base(present) + sum(c.entry[n - 1] + c.depth * c.layer[n - 1] for c, n in used)

    def room(self, budget: Budget, present: Mapping[Modality, int]) -> int:
        """Micro-units that a frame may spend: the budget rounded down, at most everything there is.

        Raises:
            InputError: the budget is in another unit.
        """
        if budget.unit != self.unit:
            raise InputError("unit", budget.unit, self.unit)
        total = self.total(present)
        if math.isinf(budget.limit):
            return total
        return min(total, math.floor(exact(budget.limit) * MICRO[self.unit]))

    def amount(self, micro: int) -> float:
        """Micro-units as a number in the table's unit."""
        return float(Fraction(micro, MICRO[self.unit]))


class MeasuredModality(Strict):
    """Measured costs of one modality, for 1, 2, ... present sensor nodes. See `ModalityCosts`."""

    look: tuple[NotNegative, ...]
    entry: tuple[NotNegative, ...]
    layer: tuple[NotNegative, ...]


class MeasuredTable(Strict):
    """Measured costs in one unit. See `LayerCosts`."""

    fixed: NotNegative
    modalities: dict[Modality, MeasuredModality]


class MeasuredCosts(Strict):
    """`costs.yaml` of a model folder: what `admn profile` measured, and where.

    power_w: mean power that joules were computed with, measured by whoever profiled.
    """

    format: Literal["admn-costs-1"] = "admn-costs-1"
    device: str
    torch: str
    threads: Count
    date: str
    repeats: Count
    milliseconds: MeasuredTable
    power_w: Positive | None = None
    joules: MeasuredTable | None = None
