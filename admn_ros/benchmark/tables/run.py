# SPDX-License-Identifier: Apache-2.0
"""Runs what is missing of the result tables, cell after cell. It may be stopped at any point and started again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from admn_ros.benchmark.tables.config import Cell, SplitConfig, TablesConfig
from admn_ros.benchmark.tables.contenders import Contenders
from admn_ros.benchmark.tables.data import CLEAN, Preparation, PreparedSamples, PreparedSplit, Told
from admn_ros.benchmark.tables.scoring import (
    CellResult,
    Effort,
    as_json,
    constant_cm,
    read_results,
    score,
    score_removal,
)
from admn_ros.benchmark.tables.training import Splits, Trained, Workshop, write_json
from admn_ros.model.presets import preset
from admn_ros.training.processes import Processes
from admn_ros.training.seeding import VALIDATION, derive

RESULTS = "tables"
"""Folder of the cells, beside the rendered tables."""


@dataclass(frozen=True)
class Place:
    """Where things are: dataset, working folder (parts, prepared data; can be deleted), folder of the results."""

    data: Path
    work: Path
    out: Path


def missing(config: TablesConfig, cells: Sequence[Cell], out: Path) -> list[Cell]:
    """Cells without a result of this configuration, in order.

    Raises:
        InputError: a result cannot be read.
    """
    there = read_results(out / RESULTS, config.fingerprint)
    return [cell for cell in cells if cell not in there]


def run_cells(config: TablesConfig, cells: Sequence[Cell], place: Place, *, command: str = "",
              device: torch.device | None = None, told: Told | None = None,
              done: Callable[[CellResult], None] | None = None) -> None:
    """Run cells that have no result yet, and write one JSON file for each.

    Args:
        config: what to run.
        cells: of its plan.
        place: folders.
        command: what the user typed; put into the results.
        device: None for the CPU.
        told: progress within a cell.
        done: called after each cell.

    Raises:
        AdmnError: a training fails, or a folder cannot be used.
    """
    processes = Processes(device=device or torch.device("cpu"))
    makers: dict[str, _Corruption] = {}
    for cell in missing(config, cells, place.out):
        if cell.corruption not in makers:
            makers.clear()  # the splits of one corruption at a time
            makers[cell.corruption] = _Corruption(config, cell.corruption, place, processes, told or _silent)
        result = makers[cell.corruption].result(cell, command)
        write_json(place.out / RESULTS / f"{cell.name}.json", as_json(result))
        if done is not None:
            done(result)


class _Corruption:
    """Everything of one corruption: its splits, its workshop, its contenders."""

    def __init__(self, config: TablesConfig, corruption: str, place: Place, processes: Processes, told: Told) -> None:
        self.config, self.model, self.processes = config, preset(config.model), processes
        work = place.work / config.fingerprint
        self._preparation = Preparation(place.data, self.model, work / "data", config.seed)
        self._told = told
        draws = self._draws(config.train, corruption)
        clean = self._preparation.split(config.train, CLEAN, 0, told)
        self.train, self.test = draws[0], self._draws(config.test, corruption)[0]
        validation = PreparedSamples(self._draws(config.validation, corruption), self.model,
                                     derive(config.seed, VALIDATION))

        def train(seed: int, clean_epochs: int) -> PreparedSamples:
            return PreparedSamples(draws, self.model, seed, first=[clean] * clean_epochs)

        self.tests = PreparedSamples([self.test], self.model, 0)
        workshop = Workshop(config, Splits(train, validation), work / corruption, processes, told)
        self.contenders = Contenders(workshop)

    def _draws(self, wanted: SplitConfig, corruption: str) -> list[PreparedSplit]:
        return [self._preparation.split(wanted, corruption, draw, self._told) for draw in range(wanted.draws)]

    def result(self, cell: Cell, command: str) -> CellResult:
        """Make the contender of a cell, training what it needs, and score it on the test split."""
        mean_cm, median_cm = constant_cm(self.train.tensors["position"], self.test.tensors["position"])
        device = self.processes.device
        common: dict[str, Any] = {
            "corruption": cell.corruption, "method": cell.method, "layers": cell.layers, "seed": cell.seed,
            "constant_mean_cm": mean_cm, "constant_median_cm": median_cm, "config": self.config.fingerprint,
            "command": command, "torch": torch.__version__,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"}
        if cell.method in ("removal_layerdrop", "removal_plain"):
            stage1 = self.contenders.finetuned(layerdrop=cell.method == "removal_layerdrop")
            removed = score_removal(stage1.stage.network, self.tests, self.config.batch, device)
            return CellResult(**common, errors=removed["all"][0], removed=removed, training=_effort(stage1.trained))
        contender = self.contenders.make(cell)
        batches = (b.to(device) for b in self.tests.batches(0, self.config.batch, shuffle=False))
        errors, costs = score(contender.run, batches, cell.layers)
        return CellResult(**common, errors=errors, costs=costs, training=_effort(contender.trained))


def _effort(trained: Trained | None) -> Effort | None:
    if trained is None:
        return None
    return Effort(learning_rate=trained.learning_rate, price=trained.price, seconds=round(trained.seconds, 1),
                  search_seconds=round(trained.search_seconds, 1))


def _silent(what: str, at: int, of: int) -> None:
    """Say nothing."""
