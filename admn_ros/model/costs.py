# SPDX-License-Identifier: Apache-2.0
"""Cost tables of a model: layers, operations, measured times and energies."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from admn_ros.budget.budget import MICRO, Budget, CostUnit, exact
from admn_ros.budget.costs import LayerCosts, MeasuredCosts, MeasuredTable, ModalityCosts
from admn_ros.config import ModelConfig, load_config
from admn_ros.errors import InputError
from admn_ros.model.flops import frame_flops
from admn_ros.sample import Modality


class ModelCosts:
    """Cost tables of one model.

    Args:
        config: description of the model.
        measured: measured costs of the model.
        flops: table of operations; None computes it from the configuration.
        measure: measures the costs when milliseconds are requested and there are no measured costs.

    Raises:
        InputError: the measured costs belong to a model with other modalities or sensor nodes.
    """

    def __init__(self, config: ModelConfig, measured: MeasuredCosts | None = None, flops: LayerCosts | None = None,
                 measure: Callable[[], MeasuredCosts] | None = None) -> None:
        self._config, self._measure, self._lock = config, measure, threading.Lock()
        self._tables: dict[str, LayerCosts] = {"layers": layer_costs(config), "gflops": flops or flop_costs(config)}
        self.measured: MeasuredCosts | None = None
        if measured is not None:
            self.use(measured)

    @classmethod
    def load(cls, config: ModelConfig, folder: str | Path, flops: LayerCosts | None = None,
             measure: Callable[[], MeasuredCosts] | None = None) -> ModelCosts:
        """Read the tables of a model folder: those of its `costs.yaml` if it has one.

        Raises:
            ConfigError: `costs.yaml` cannot be read.
            InputError: `costs.yaml` belongs to another model.
        """
        path = Path(folder) / "costs.yaml"
        if not path.exists():
            return cls(config, None, flops, measure)
        try:
            return cls(config, load_config(MeasuredCosts, path), flops, measure)
        except InputError as error:
            raise error if str(path) in error.field else error.within(str(path)) from error

    def use(self, measured: MeasuredCosts) -> None:
        """Use measured costs from now on.

        Raises:
            InputError: they belong to a model with other modalities or sensor nodes.
        """
        tables = {"milliseconds": _measured(self._config, "milliseconds", measured.milliseconds)}
        if measured.joules is not None:
            tables["joules"] = _measured(self._config, "joules", measured.joules)
        self._tables |= tables
        self.measured = measured

    @property
    def least(self) -> dict[str, float]:
        """Cost of the cheapest frame in each known unit, while every input is present."""
        by_input = self._config.predicts_values
        return {unit: t.amount(t.least(t.everything, by_input)) for unit, t in self._tables.items()}

    @property
    def units(self) -> tuple[str, ...]:
        """Units of the tables, without those that a measurement would add."""
        return tuple(self._tables)

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """Units whose table a measurement adds at the first request."""
        return ("milliseconds",) if self._measure is not None and "milliseconds" not in self._tables else ()

    def share(self, budget: Budget, frame_rate_hz: float | None) -> Fraction:
        """Return the share of the model that a budget buys while every input is present; see `LayerCosts.share`.

        Raises:
            InputError: the model has no costs in the unit of the budget.
        """
        per_frame = budget.per_frame(frame_rate_hz)
        table = self.table(per_frame.unit)
        return table.share(per_frame, table.everything)

    def table(self, unit: str) -> LayerCosts:
        """Return the table of a unit. The first call for milliseconds may take the time of a measurement.

        Raises:
            InputError: the model has no costs in this unit.
        """
        if unit == "milliseconds" and self._measure is not None:
            with self._lock:
                if unit not in self._tables:
                    self.use(self._measure())
        if unit in self._tables:
            return self._tables[unit]
        known = dict.fromkeys([*self._tables, *(["milliseconds"] if self._measure else [])])
        why = "joules were not measured; run `admn profile` with --watts" if "milliseconds" in known \
            else "this model has no measured costs; run `admn profile`"
        raise InputError("unit", unit, f"{', '.join(known)} ({why})")


def layer_costs(config: ModelConfig) -> LayerCosts:
    """Return the table in layers (paper Section 3.1): a layer costs 1 for any number of sensor nodes, the rest 0.

    Layers of the modalities in `layer_costs` of the configuration have the cost that it gives.
    """
    nodes = len(config.sensor_nodes)
    none = (0,) * nodes
    return LayerCosts("layers", 0, {m: ModalityCosts(depth, none, none, (config.layer_costs.get(m, 1),) * nodes)
                                    for m, depth in config.depths.items()})


def flop_costs(config: ModelConfig) -> LayerCosts:
    """Return the table of floating-point operations. See `admn_ros.model.flops`.

    Of a controller that reads the first sensor nodes only, it counts as many as are present, which is too much if one
    of the first is missing.
    """
    flops = frame_flops(config)
    # Sensor nodes run as a batch: each of them adds the same.
    nodes = range(1, len(config.sensor_nodes) + 1)
    return LayerCosts("gflops", flops.fixed, {
        m: ModalityCosts(config.depths[m], tuple(min(n, config.observed) * f.controller for n in nodes),
                         tuple(n * f.embedding for n in nodes), tuple(n * f.layer for n in nodes))
        for m, f in flops.modalities.items()})


def _measured(config: ModelConfig, unit: CostUnit, table: MeasuredTable) -> LayerCosts:
    if set(table.modalities) != set(config.modalities):
        raise InputError(f"{unit}.modalities", _names(table.modalities), f"{_names(config.modalities)} of the model")
    nodes = len(config.sensor_nodes)
    modalities = {}
    for modality, depth in config.depths.items():
        entry = table.modalities[modality]
        for part, values in (("controller", entry.controller), ("embedding", entry.embedding), ("layer", entry.layer)):
            if len(values) != nodes:
                raise InputError(f"{unit}.modalities.{modality}.{part}", f"{len(values)} values",
                                 f"{nodes}, one for each number of present sensor nodes")
        modalities[modality] = ModalityCosts(
            depth, _micro(unit, entry.controller), _micro(unit, entry.embedding), _micro(unit, entry.layer))
    return LayerCosts(unit, _micro(unit, [table.fixed])[0], modalities)


def _micro(unit: CostUnit, values: Sequence[float]) -> tuple[int, ...]:
    return tuple(math.ceil(exact(v) * MICRO[unit]) for v in values)


def _names(modalities: Mapping[Modality, object]) -> str:
    return ", ".join(map(str, modalities)) or "none"
