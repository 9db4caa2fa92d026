# SPDX-License-Identifier: Apache-2.0
"""Figures of one finished evaluation, as points of `worth.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from admn_ros.benchmark.worth.plan import Run
from admn_ros.benchmark.worth.results import Figure, Point, RunResult
from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import CostLedger, LayerCosts
from admn_ros.config import ModelConfig
from admn_ros.evaluation.records import Columns, layer_counts, read_columns
from admn_ros.evaluation.results_folder import RECORDS
from admn_ros.evaluation.summary import DIGITS, ContenderSummary
from admn_ros.model.costs import ModelCosts
from admn_ros.sample import Modality
from admn_ros.scoring.bootstrap import SceneBootstrap
from admn_ros.scoring.metrics import Mask


def run_result(run: Run, folder: Path, results: Mapping[str, Any], config: ModelConfig, costs: ModelCosts) -> RunResult:
    """Return the figures of a run.

    Args:
        run: the run.
        folder: folder of its evaluation.
        results: content of its results.json.
        config: description of its model.
        costs: cost tables of its model.

    Raises:
        InputError: the records cannot be read.
    """
    (corruption,) = run.plan.corruptions
    columns, cells = read_columns(folder / RECORDS / f"{corruption}.npz"), results["cells"]
    budgets = len(run.plan.budgets)
    summaries = [ContenderSummary(columns, v, config, run.plan.seed) for v in range(len(cells))]
    points = [_point(cell, summaries[v], summaries[v % budgets] if v >= budgets else None, costs)
              for v, cell in enumerate(cells)]
    return RunResult(name=run.name, role=run.role, what=run.what, split=run.plan.split, corruption=corruption,
                     unit=costs.table(run.plan.unit).unit, points=tuple(points))


def _point(cell: Mapping[str, Any], summary: ContenderSummary, first: ContenderSummary | None,
           costs: ModelCosts) -> Point:
    error, classes, regret, versus = (cell.get(k) for k in ("error_cm", "classes", "regret", "versus_first_policy"))
    table = costs.table(cell["budget"]["unit"])
    return Point(
        policy=cell["policy"].partition(":")[0], limit=cell["budget"]["limit"], frames=cell["frames"]["n"],
        error_cm=None if error is None else _figure(error["mean"], error["mean_interval"]),
        accuracy=None if classes is None else _figure(classes["accuracy"], classes["accuracy_interval"]),
        regret=None if regret is None else _figure(regret["share"], regret["interval"]),
        more_cm=None if versus is None else _figure(versus["error_cm_mean"], versus["interval"]),
        more_right=None if first is None else _more_right(summary, first),
        without_estimate=cell["frames"]["without_estimate"],
        avoidable=_avoidable(summary, table), violations=cell["violations"], layers=cell["layers"]["mean"],
        milliseconds=_milliseconds(summary, costs.table("milliseconds")))


def _figure(value: float, interval: tuple[float, float] | list[float] | None) -> Figure:
    return Figure(value=round(value, DIGITS),
                  interval=None if interval is None else (round(interval[0], DIGITS), round(interval[1], DIGITS)))


def _more_right(summary: ContenderSummary, first: ContenderSummary) -> Figure | None:
    """Return the share of right classes minus that of another contender, on the frames where both have an estimate."""
    ours, other = summary.estimates, first.estimates
    rows = ours.labelled & other.labelled
    if not rows.any():
        return None
    right, before = ((e.predicted == e.label)[rows].astype(np.float64) for e in (ours, other))
    names, scene = np.unique(summary.columns["scene"], return_inverse=True)
    more = right - before
    return _figure(float(more.mean()), SceneBootstrap(len(names), summary.seed).of_mean(more, scene[rows]))


def _avoidable(summary: ContenderSummary, table: LayerCosts) -> int:
    """Count the frames without an estimate in which the budget held a layer of a present input."""
    silent: Mask = ~summary.estimates.answered
    return sum(bool(CostLedger.open(present, table, Budget(granted, table.unit)).runnable_alone)
               for present, granted in zip(_present(summary.columns, summary.config, silent),
                                           summary.of("granted")[silent].tolist(), strict=True))


def _milliseconds(summary: ContenderSummary, table: LayerCosts) -> float:
    """Return the mean price of the layers that ran."""
    counts = layer_counts(summary.of("active"), summary.config.depths.values())
    milliseconds = table.prices(counts, summary.columns["nodes"], summary.of("used")) * table.amount(1)
    return round(float(milliseconds.mean()), DIGITS)


def _present(columns: Columns, config: ModelConfig, rows: Mask) -> list[dict[Modality, int]]:
    return [dict(zip(config.modalities, nodes, strict=True)) for nodes in columns["nodes"][rows].tolist()]
