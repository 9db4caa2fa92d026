# SPDX-License-Identifier: Apache-2.0
"""Result of one table cell, and its JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError
from torch import Tensor

from admn_ros.benchmark.tables.config import Cell, Method, Task
from admn_ros.benchmark.tables.training import TrainingCost
from admn_ros.budget.costs import LayerCosts
from admn_ros.config import ModelConfig, Strict
from admn_ros.errors import InputError
from admn_ros.evaluation.records import Columns, layer_counts
from admn_ros.evaluation.summary import ContenderSummary
from admn_ros.files import read_text
from admn_ros.scoring.estimates import ErrorSummary, finite_rows
from admn_ros.scoring.metrics import CM_PER_M, distances

CONSTANT_MARGIN = 0.05
"""A mean error, or rate of wrong classes, that is less than this fraction below that of the constant predictor means
that nothing was learned."""

Interval = tuple[float, float]


class ErrorFigures(Strict):
    """Errors over the test samples with a position, and accuracy over all.

    Attributes:
        mean_cm, median_cm, p95_cm: position errors, in centimetres; None if no sample has a position.
        accuracy: fraction of correct classes.
        mean_interval_cm, accuracy_interval: 95 % intervals by scene; None in cells of the first format, and with too
            few scenes.
    """

    mean_cm: float | None = None
    median_cm: float | None = None
    p95_cm: float | None = None
    accuracy: float
    mean_interval_cm: Interval | None = None
    accuracy_interval: Interval | None = None


class Costs(Strict):
    """Costs over the frames of the test split.

    Attributes:
        layers_mean, layers_max: backbone layers that ran.
        gflops_mean, gflops_max: operations of a frame.
        violations: number of frames that ran more layers than the budget.
    """

    layers_mean: float
    layers_max: int
    gflops_mean: float
    gflops_max: float
    violations: int


class CellResult(Strict):
    """Content of one JSON file.

    Attributes:
        format: the first format has no intervals and no `figures`; it is still read.
        corruption, method, layers, seed: see `admn_ros.benchmark.tables.config.Cell`.
        errors: errors on the test split.
        constant_mean_cm, constant_median_cm: errors of the mean training position on the test split; None without
            positions.
        constant_accuracy: accuracy of the most frequent training class on the test split; None with positions.
        costs: costs on the test split; None for layer removal.
        training: last training of the method; None if it has no part of its own.
        removed: for layer removal, errors by modality (or "all") and number of removed layers.
        figures: all figures, as in results.json of `admn evaluate`.
        config: fingerprint of the configuration.
        command: command that made the cell.
        torch, device: version of PyTorch, and processor.
        threads: CPU threads of the run; None in earlier results.
    """

    format: Literal["admn-table-cell-1", "admn-table-cell-2"] = "admn-table-cell-2"
    corruption: str
    method: Method
    layers: int | None
    seed: int
    errors: ErrorFigures
    constant_mean_cm: float | None = None
    constant_median_cm: float | None = None
    constant_accuracy: float | None = None
    costs: Costs | None = None
    training: TrainingCost | None = None
    removed: dict[str, dict[int, ErrorFigures]] = Field(default={})
    figures: dict[str, Any] = Field(default={})
    config: str
    command: str
    torch: str
    device: str
    threads: int | None = None

    @property
    def cell(self) -> Cell:
        """Cell of the result."""
        return Cell(self.corruption, self.method, self.layers, self.seed)

    @property
    def at_constant(self) -> bool:
        """Whether the method is no better than the constant predictor."""
        if self.errors.mean_cm is not None and self.constant_mean_cm is not None:
            return self.errors.mean_cm > (1 - CONSTANT_MARGIN) * self.constant_mean_cm
        wrong, constant = 1 - self.errors.accuracy, 1 - (self.constant_accuracy or 0.0)
        return wrong > (1 - CONSTANT_MARGIN) * constant


def summarize(columns: Columns, contender: int, model: ModelConfig, task: Task = "localization",
              seed: int = 0) -> tuple[ErrorFigures, dict[str, Any]]:
    """Summarize the records of a contender, as `admn evaluate` does.

    Returns:
        Errors of the cell, and all figures.

    Raises:
        InputError: the test samples lack what the task measures.
    """
    figures = ContenderSummary(columns, contender, model, seed).figures()
    error, classes = figures["error_cm"], figures["classes"]
    if classes is None or (error is None and task == "localization"):
        raise InputError("test split", f"no sample with the truth of {task}", "at least one")
    errors = ErrorFigures(accuracy=_rounded(classes["accuracy"]),
                          accuracy_interval=_interval(classes["accuracy_interval"]))
    if error is not None:
        errors = errors.model_copy(update={
            "mean_cm": _rounded(error["mean"]), "median_cm": _rounded(error["median"]),
            "p95_cm": _rounded(error["p95"]), "mean_interval_cm": _interval(error["mean_interval"])})
    return errors, figures


def summarize_costs(columns: Columns, table: LayerCosts | None) -> Costs:
    """Summarize the costs of the first contender of some records.

    Args:
        columns: records.
        table: costs in operations; None if the records have the operations of each frame.
    """
    active = columns["active"][:, 0]
    layers = active.sum(axis=1)
    if table is None:
        gflops = columns["gflops"][:, 0]
    else:
        counts = layer_counts(active, [costs.depth for costs in table.modalities.values()])
        gflops = table.prices(counts, columns["nodes"], columns["used"][:, 0]) * table.amount(1)
    return Costs(layers_mean=_rounded(layers.mean()), layers_max=int(layers.max()),
                 violations=int(columns["violation"][:, 0].sum()), gflops_mean=_rounded(gflops.mean(), 6),
                 gflops_max=_rounded(gflops.max(), 6))


def constant_cm(constant_m: Tensor, columns: Columns) -> tuple[float, float]:
    """Return mean and median error, in centimetres, of a constant answer (2,) in metres."""
    truth = columns["position_m"][:, :2]
    truth = truth[finite_rows(truth)]
    summary = ErrorSummary.of(CM_PER_M * distances(np.broadcast_to(constant_m.numpy(), truth.shape), truth))
    return _rounded(summary.mean_cm), _rounded(summary.median_cm)


def constant_accuracy(label: int, columns: Columns) -> float:
    """Return the accuracy of a constant class."""
    truth = columns["label"]
    return _rounded((truth[truth >= 0] == label).mean())


def read_results(folder: Path, fingerprint: str | None = None) -> dict[Cell, CellResult]:
    """Read the results in a folder.

    Args:
        folder: folder of the JSON files.
        fingerprint: fingerprint of the configuration; None reads results of all configurations.

    Raises:
        InputError: a file cannot be read.
    """
    found: dict[Cell, CellResult] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            result = CellResult.model_validate_json(read_text(path, "a cell of the result tables"), strict=False)
        except ValidationError as error:
            raise InputError(str(path), " ".join(str(error).split())[:200], "a cell of the result tables") from error
        if fingerprint is None or result.config == fingerprint:
            found[result.cell] = result
    return found


def as_json(result: CellResult) -> Mapping[str, object]:
    """Return the JSON values of a result."""
    content: Mapping[str, object] = json.loads(result.model_dump_json())
    return content


def _interval(ends: Sequence[float] | None) -> Interval | None:
    return None if ends is None else (_rounded(ends[0]), _rounded(ends[1]))


def _rounded(value: float | np.floating[Any], digits: int = 3) -> float:
    return round(float(value), digits)
