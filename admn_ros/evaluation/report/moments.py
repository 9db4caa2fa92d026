# SPDX-License-Identifier: Apache-2.0
"""Contents of a timeline: one stretch of frames per corruption, and its notable moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from admn_ros.evaluation.records import Columns
from admn_ros.evaluation.report.data import Evaluation
from admn_ros.scoring.metrics import Floats, Whole

NS = 1e9


@dataclass(frozen=True)
class Moment:
    """Notable frame.

    Attributes:
        row: row in the columns of its corruption.
        kind: typical, worst, drop or missing.
        text: description.
    """

    row: int
    kind: str
    text: str


@dataclass(frozen=True)
class Stretch:
    """Consecutive frames of one recording or dataset.

    Attributes:
        corruption: injected corruption.
        source: index of the recording; 0 for a dataset.
        name: name of the recording or dataset.
        rows: rows in the columns of the corruption.
        variant: index of the shown variant: the first policy with the shown budget.
        budget: index of the shown budget.
    """

    corruption: str
    source: int
    name: str
    rows: Whole
    variant: int
    budget: int


def stretches(evaluation: Evaluation) -> list[Stretch]:
    """Return one stretch per corruption: of several recordings, the one with the largest error.

    The budget is the first one that changes over time, else the one in focus.
    """
    changing = evaluation.changing_budgets
    budget = changing[0] if changing else evaluation.focus
    variant = evaluation.variant(0, budget)
    found = []
    for corruption in evaluation.corruptions:
        parts = _parts(evaluation, evaluation.records[corruption])
        errors = evaluation.errors_cm(corruption, variant)
        worst = int(np.nanargmax(errors)) if np.isfinite(errors).any() else 0
        source = next(k for k, rows in enumerate(parts) if worst in rows)
        found.append(Stretch(corruption, source, _name(evaluation, source), parts[source], variant, budget))
    return found


def _parts(evaluation: Evaluation, columns: Columns) -> list[Whole]:
    """Return the rows of each recording, within which frame indices increase; a dataset is one part."""
    index = columns["index"]
    starts: list[int] = (np.flatnonzero(np.diff(index) <= 0) + 1).tolist() if evaluation.is_of_bags else []
    return [np.asarray(rows, dtype=np.int64) for rows in np.split(np.arange(len(index)), starts)]


def _name(evaluation: Evaluation, source: int) -> str:
    described = evaluation.results["source"]
    return str(described["bags"][source]["name"] if evaluation.is_of_bags else described["name"])


def moments(evaluation: Evaluation, stretch: Stretch) -> list[Moment]:
    """Return the notable frames: median error, largest error, largest budget drop, first missing modality."""
    columns, rows = evaluation.records[stretch.corruption], stretch.rows
    found: list[Moment] = []
    errors = evaluation.errors_cm(stretch.corruption, stretch.variant)[rows]
    if np.isfinite(errors).any():
        middle = float(np.nanmedian(errors))
        typical, worst = int(np.nanargmin(np.abs(errors - middle))), int(np.nanargmax(errors))
        found += [Moment(int(rows[typical]), "typical", f"Median error: {errors[typical]:.0f} cm"),
                  Moment(int(rows[worst]), "worst", f"Largest error: {errors[worst]:.0f} cm")]
    granted = columns["granted"][rows, stretch.variant]
    drop = _largest_drop(granted, columns["unit"][rows, stretch.variant])
    if drop is not None:
        found.append(Moment(int(rows[drop]), "drop", f"Largest drop of the budget: from "
                            f"{_limit(granted[drop - 1])} to {_limit(granted[drop])} {columns['unit'][rows[drop], 0]}"))
    there = columns["nodes"][rows] > 0
    lost = np.argwhere(there[:-1] & ~there[1:])
    if len(lost):
        frame, modality = int(lost[0, 0]) + 1, int(lost[0, 1])
        found.append(Moment(int(rows[frame]), "missing",
                            f"First missing modality: {evaluation.modalities[modality]}"))
    return sorted(found, key=lambda moment: moment.row)


def _largest_drop(granted: Floats, unit: Floats) -> int | None:
    """Return the index of the frame after the largest decrease of the limit within one unit."""
    with np.errstate(invalid="ignore"):
        fallen = np.nan_to_num(granted[:-1] - granted[1:], nan=0.0, posinf=np.inf)
    fallen = np.where(unit[:-1] == unit[1:], fallen, 0.0)
    return int(fallen.argmax()) + 1 if len(fallen) and fallen.max() > 0 else None


def _limit(value: float) -> str:
    return f"{value:g}" if np.isfinite(value) else "no limit"
