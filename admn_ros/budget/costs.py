# SPDX-License-Identifier: Apache-2.0
"""Cost of a frame in whole micro-units, so that sums and comparisons are exact.

Budgets are rounded down to micro-units and costs are rounded up, so rounding can never cause an overrun.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from admn_ros.budget.budget import MICRO, Budget, CostUnit, exact
from admn_ros.config import Count, NotNegative, Positive, Strict
from admn_ros.errors import InputError
from admn_ros.sample import Modality

Integers = npt.NDArray[np.integer]
Counts = Mapping[Modality, int]
"""Number of executed layers, or of present sensor nodes, per modality. Modalities that are not named have none."""
PresentNodes = Mapping[Modality, int | Sequence[int]]
"""Present sensor nodes per modality: ascending indices in the model's order, or a number n for the first n.

Modalities that are not named have none.
"""


@dataclass(frozen=True)
class ModalityCosts:
    """Costs of one modality. Each tuple is indexed by a number of sensor nodes, minus 1.

    Attributes:
        depth: number of backbone layers.
        controller: cost of the controller's convolutions at all present sensor nodes, used or not.
        embedding: cost of patch embedding, final norm and adapter at the used sensor nodes; paid once if there are any.
        layer: cost of one executed backbone layer at the used sensor nodes.
    """

    depth: int
    controller: tuple[int, ...]
    embedding: tuple[int, ...]
    layer: tuple[int, ...]

    def __post_init__(self) -> None:
        for field in ("controller", "embedding", "layer"):
            values: tuple[int, ...] = getattr(self, field)
            if len(values) != len(self.layer) or not values or min(values) < 0:
                raise InputError(field, values, "costs of at least 0, one for each number of present sensor nodes")

    @property
    def nodes(self) -> int:
        """Number of sensor nodes of the model."""
        return len(self.layer)

    def backbone(self, layers: int, nodes: int) -> int:
        """Return the cost of running layers at sensor nodes, embedding included; 0 without layers or sensor nodes."""
        return self.embedding[nodes - 1] + layers * self.layer[nodes - 1] if layers and nodes else 0

    def first(self, present: int, by_input: bool = False) -> int:
        """Return the cost of the first layer, embedding included.

        Args:
            present: number of present sensor nodes, at least 1.
            by_input: whether it may run at the cheapest number of them, usually one, not only at all.
        """
        return min(self.backbone(1, n) for n in range(1 if by_input else present, present + 1))

    def price(self, layers: int, present: int, used: int | None = None) -> int:
        """Return the cost of the modality in a frame, the controller's convolutions included.

        Args:
            layers: number of executed layers.
            present: number of present sensor nodes.
            used: number of those that run; None for all.
        """
        return self.controller[present - 1] + self.backbone(layers, present if used is None else used) if present else 0


@dataclass(frozen=True)
class LayerCosts:
    """Cost table of a model in one unit, in whole micro-units (`admn_ros.budget.budget.MICRO`).

    A frame costs `fixed`, plus `controller` of each available modality, plus `embedding` and `layer` times the number
    of executed layers of each used one. A frame that runs no layer costs nothing. `present` arguments map modalities
    to their number of present sensor nodes, and `used` ones to the number of those that run, all of them by default.

    Attributes:
        unit: unit of the costs.
        fixed: cost of every frame that runs (controller transformer, fusion, heads).
        modalities: costs of each modality, in the model's order.
    """

    unit: CostUnit
    fixed: int
    modalities: Mapping[Modality, ModalityCosts]

    @property
    def everything(self) -> dict[Modality, int]:
        """Number of sensor nodes of each modality while every input is present."""
        return {m: costs.nodes for m, costs in self.modalities.items()}

    def base(self, present: Counts) -> int:
        """Return the cost of a frame before any modality is used."""
        return self.fixed + sum(self.modalities[m].price(0, n) for m, n in present.items())

    def price(self, layers: Counts, present: Counts, used: Counts | None = None) -> int:
        """Return the cost of a frame that runs a number of layers of each modality; 0 if it runs none."""
        if not any(layers.values()):
            return 0
        nodes = present if used is None else used
        return self.base(present) + sum(self.modalities[m].backbone(k, nodes.get(m, 0)) for m, k in layers.items())

    def total(self, present: Counts) -> int:
        """Return the cost of a frame that runs every layer of every available modality."""
        return self.base(present) + sum(self.modalities[m].backbone(self.modalities[m].depth, n)
                                        for m, n in present.items())

    def least(self, present: Counts, by_input: bool = False) -> int:
        """Return the cost of the cheapest frame in which a layer runs; 0 if no modality is available.

        Args:
            present: numbers of present sensor nodes.
            by_input: whether a modality may run at some of its present sensor nodes, not only at all.
        """
        firsts = [self.modalities[m].first(n, by_input) for m, n in present.items() if n]
        return self.base(present) + min(firsts) if firsts else 0

    def share(self, budget: Budget, present: Counts) -> Fraction:
        """Return where a budget lies between the cheapest frame, 0, and one that runs everything, 1; negative below.

        Raises:
            InputError: the budget is in another unit.
        """
        least, total = self.least(present), self.total(present)
        return Fraction(self.room(budget, present) - least, max(1, total - least))

    def prices(self, layers: Integers, present: Integers, used: Integers | None = None) -> Integers:
        """Return the costs (N,) of many frames: `price` of each row.

        Args:
            layers: numbers of executed layers (N, M), modalities in the table's order.
            present: numbers of present sensor nodes (N, M).
            used: numbers of those that run (N, M); None for all.
        """
        return np.where(layers.any(axis=1), self.fixed + self.modality_prices(layers, present, used), 0)

    def modality_prices(self, layers: Integers, present: Integers, used: Integers | None = None) -> Integers:
        """Return the costs (N,) of many frames without the fixed part. Arguments as `prices`."""
        micro = np.zeros(len(layers), np.int64)
        nodes = present if used is None else used
        for k, costs in enumerate(self.modalities.values()):
            controller, embedding, layer = (np.array([0, *part])[count[:, k]] for part, count in (
                (costs.controller, present), (costs.embedding, nodes), (costs.layer, nodes)))
            micro += controller + (layers[:, k] > 0) * embedding + layers[:, k] * layer
        return micro

    def room(self, budget: Budget, present: Counts) -> int:
        """Return the micro-units that a frame may spend: the budget rounded down, at most the cost of everything.

        Raises:
            InputError: the budget is in another unit.
        """
        if budget.unit != self.unit:
            raise InputError("unit", budget.unit, self.unit)
        total = self.total(present)
        if math.isinf(budget.limit):
            return total
        return min(total, math.floor(exact(budget.limit) * MICRO[self.unit]))

    def exceeds(self, micro: int, budget: Budget) -> bool:
        """Return whether a cost is above a budget in the table's unit."""
        return not math.isinf(budget.limit) and bool(micro > exact(budget.limit) * MICRO[self.unit])

    def amount(self, micro: int) -> float:
        """Convert micro-units to the nearest number in the table's unit."""
        return micro / MICRO[self.unit]


@dataclass(frozen=True)
class CostLedger:
    """Cost arithmetic of one frame, shared by the allocator and all other policies.

    Attributes:
        nodes: indices of the present sensor nodes of every modality of the table, in its order.
        present: their numbers.
        table: cost table.
        budget: budget of the frame, in the table's unit.
        limit: micro-units that the frame may spend.
    """

    nodes: Mapping[Modality, tuple[int, ...]]
    present: Counts
    table: LayerCosts
    budget: Budget
    limit: int

    @classmethod
    def open(cls, present_nodes: PresentNodes, table: LayerCosts, budget: Budget) -> CostLedger:
        """Check a frame and its budget against a table.

        Raises:
            InputError: the units differ, a modality is not in the table, or sensor nodes are out of range.
        """
        for modality in present_nodes:
            if modality not in table.modalities:
                raise InputError("modality", modality, ", ".join(map(str, table.modalities)))
        nodes = {m: _indices(m, present_nodes.get(m, 0), c.nodes) for m, c in table.modalities.items()}
        present = {m: len(found) for m, found in nodes.items()}
        return cls(nodes, present, table, budget, table.room(budget, present))

    @property
    def available(self) -> list[Modality]:
        """Modalities with a present sensor node, in the model's order."""
        return [m for m, n in self.present.items() if n]

    @cached_property
    def room(self) -> int:
        """Micro-units left for embeddings and layers; negative if the budget does not hold the fixed part."""
        return self.limit - self.table.base(self.present)

    @property
    def runnable(self) -> list[Modality]:
        """Available modalities whose first layer fits if it is the only one to run."""
        return [m for m in self.available if self.floor(m) <= self.room]

    @property
    def runnable_alone(self) -> list[Modality]:
        """Available modalities whose first layer fits at the cheapest number of their sensor nodes, usually one."""
        return [m for m in self.available if self.cheapest(m) <= self.room]

    def cheapest(self, modality: Modality) -> int:
        """Return the cost of an available modality's first layer at the cheapest number of its sensor nodes."""
        return self.table.modalities[modality].first(self.present[modality], by_input=True)

    def floor(self, modality: Modality) -> int:
        """Return the cost of an available modality's first layer, embedding included."""
        return self.table.modalities[modality].first(self.present[modality])

    def layer(self, modality: Modality) -> int:
        """Return the cost of one more layer of an available modality."""
        return self.table.modalities[modality].layer[self.present[modality] - 1]

    def price(self, layers: Counts, used: Counts | None = None) -> int:
        """Return the cost of the frame with these numbers of layers, at these numbers of sensor nodes or at all."""
        return self.table.price(layers, self.present, used)

    def affords(self, layers: Counts) -> bool:
        """Return whether the layers use available modalities only and fit into the budget."""
        return all(self.present[m] for m, k in layers.items() if k) and self.price(layers) <= self.limit

    def costs(self, layers: Counts, used: Counts) -> dict[Modality, float]:
        """Return what each modality spends in a frame that runs, in the table's unit."""
        return {m: self.table.amount(self.table.modalities[m].price(layers.get(m, 0), n, used.get(m, 0)))
                for m, n in self.present.items()}


def _indices(modality: Modality, found: int | Sequence[int], nodes: int) -> tuple[int, ...]:
    """Return the indices of present sensor nodes, of a model with a number of them."""
    field = f"present sensor nodes of {modality}"
    if isinstance(found, int):
        if not 0 <= found <= nodes:
            raise InputError(field, found, f"0 to {nodes}")
        return tuple(range(found))
    if list(found) != [i for i in range(nodes) if i in found]:
        raise InputError(field, tuple(found), f"ascending indices from 0 to {nodes - 1}")
    return tuple(found)


class MeasuredModality(Strict):
    """Measured costs of one modality for 1, 2, ... present sensor nodes. See `ModalityCosts`."""

    controller: tuple[NotNegative, ...]
    embedding: tuple[NotNegative, ...]
    layer: tuple[NotNegative, ...]


class MeasuredTable(Strict):
    """Measured costs in one unit. See `LayerCosts`."""

    fixed: NotNegative
    modalities: dict[Modality, MeasuredModality]


class MeasuredCosts(Strict):
    """Cost measurement on one machine (`costs.yaml`), written by `admn profile`.

    Attributes:
        device: name of the processor.
        runtime: what computed the network: torch, or onnxruntime with its execution provider.
        torch: version of PyTorch.
        threads: number of CPU threads.
        date: day of the measurement, YYYY-MM-DD.
        repeats: number of timed runs per median.
        milliseconds: median times.
        power_w: mean power of the device in watts from which the joules were computed.
        joules: energies; None if the power is unknown.
    """

    format: Literal["admn-costs-2"] = "admn-costs-2"
    device: str
    runtime: str = "torch"
    torch: str
    threads: Count
    date: str
    repeats: Count
    milliseconds: MeasuredTable
    power_w: Positive | None = None
    joules: MeasuredTable | None = None
