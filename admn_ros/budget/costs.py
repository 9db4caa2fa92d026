# SPDX-License-Identifier: Apache-2.0
"""What a frame costs, in whole micro-units, so that adding and comparing are exact.

A budget rounds down to micro-units and a cost rounds up: rounding never overspends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from admn_ros.budget.budget import MICRO, Budget, CostUnit, exact
from admn_ros.config import Count, ModelConfig, NotNegative, Positive, Strict, load_config
from admn_ros.errors import InputError
from admn_ros.model.flops import frame_flops
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


class ModelCosts:
    """The cost tables of one model.

    Args:
        config: the model.
        measured: its measured costs, if any.
        flops: its operations, where they are not those that its configuration tells.

    Raises:
        InputError: the measured costs are of a model with other modalities or sensor nodes.
    """

    def __init__(self, config: ModelConfig, measured: MeasuredCosts | None = None,
                 flops: LayerCosts | None = None) -> None:
        self.measured = measured
        self._tables: dict[CostUnit, LayerCosts] = {"layers": layer_costs(config),
                                                    "gflops": flops or flop_costs(config)}
        if measured is not None:
            self._tables["milliseconds"] = _measured(config, "milliseconds", measured.milliseconds)
            if measured.joules is not None:
                self._tables["joules"] = _measured(config, "joules", measured.joules)

    @classmethod
    def load(cls, config: ModelConfig, folder: str | Path, flops: LayerCosts | None = None) -> ModelCosts:
        """Tables of a model folder; measured ones only if it has a `costs.yaml`.

        Raises:
            ConfigError: `costs.yaml` cannot be read.
            InputError: `costs.yaml` is of another model.
        """
        path = Path(folder) / "costs.yaml"
        if not path.exists():
            return cls(config, flops=flops)
        try:
            return cls(config, load_config(MeasuredCosts, path), flops)
        except InputError as error:
            raise error if str(path) in error.field else error.within(str(path)) from error

    @property
    def units(self) -> tuple[CostUnit, ...]:
        """Units this model can count in."""
        return tuple(self._tables)

    def table(self, unit: str) -> LayerCosts:
        """Table of a unit.

        Raises:
            InputError: the model has no costs in this unit.
        """
        for known, table in self._tables.items():
            if known == unit:
                return table
        why = "joules were not measured; give `admn profile` the power" if "milliseconds" in self._tables \
            else "this model has no measured costs; run `admn profile`"
        raise InputError("unit", unit, f"{', '.join(self._tables)} ({why})")


def layer_costs(config: ModelConfig) -> LayerCosts:
    """The paper's unit (Section 3.1): each layer costs 1 however many sensor nodes it serves; the rest is free."""
    none, one = (0,) * len(config.sensor_nodes), (1,) * len(config.sensor_nodes)
    return LayerCosts("layers", 0, {m: ModalityCosts(depth, none, none, one) for m, depth in config.depths.items()})


def flop_costs(config: ModelConfig) -> LayerCosts:
    """Floating-point operations of each part, counted from the shapes. See `admn_ros.model.flops`."""
    flops = frame_flops(config)
    # Patch embedding, adapter and layers run the sensor nodes as a batch: each adds the same.
    nodes = range(1, len(config.sensor_nodes) + 1)
    return LayerCosts("gflops", flops.fixed, {
        m: ModalityCosts(config.depths[m], *(tuple(n * part for n in nodes) for part in (f.look, f.entry, f.layer)))
        for m, f in flops.modalities.items()})


def _measured(config: ModelConfig, unit: CostUnit, table: MeasuredTable) -> LayerCosts:
    if set(table.modalities) != set(config.modalities):
        raise InputError(f"{unit}.modalities", _names(table.modalities), f"{_names(config.modalities)} of the model")
    nodes = len(config.sensor_nodes)
    modalities = {}
    for modality, depth in config.depths.items():
        entry = table.modalities[modality]
        for part, values in (("look", entry.look), ("entry", entry.entry), ("layer", entry.layer)):
            if len(values) != nodes:
                raise InputError(f"{unit}.modalities.{modality}.{part}", f"{len(values)} numbers",
                                 f"{nodes}, one for each number of present sensor nodes")
        modalities[modality] = ModalityCosts(
            depth, _micro(unit, entry.look), _micro(unit, entry.entry), _micro(unit, entry.layer))
    return LayerCosts(unit, _micro(unit, [table.fixed])[0], modalities)


def _micro(unit: CostUnit, values: Sequence[float]) -> tuple[int, ...]:
    return tuple(math.ceil(exact(v) * MICRO[unit]) for v in values)


def _names(modalities: Mapping[Modality, object]) -> str:
    return ", ".join(map(str, modalities)) or "none"
