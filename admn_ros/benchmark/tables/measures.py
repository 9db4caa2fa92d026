# SPDX-License-Identifier: Apache-2.0
"""What a table compares: errors of positions, or the accuracy of classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from admn_ros.benchmark.tables.config import Task
from admn_ros.benchmark.tables.results import CellResult, ErrorFigures, Interval

_PERCENT = 100.0


@dataclass(frozen=True)
class Measure:
    """Measure of a task.

    Attributes:
        name: name in titles.
        unit: unit of the entries.
        rises: whether a larger value is better.
        value: entry of a table, of the errors of a cell.
        interval: its 95 % interval; None if it was not computed.
        constant: value of the constant predictor.
        about: sentence about the entries, for the reader.
    """

    name: str
    unit: str
    rises: bool
    value: Callable[[ErrorFigures], float]
    interval: Callable[[ErrorFigures], Interval | None]
    constant: Callable[[CellResult], float]
    about: str


def _mean_cm(errors: ErrorFigures) -> float:
    assert errors.mean_cm is not None  # every cell of a localization task has one
    return errors.mean_cm


def _constant_cm(result: CellResult) -> float:
    assert result.constant_mean_cm is not None
    return result.constant_mean_cm


def _percent_interval(errors: ErrorFigures) -> Interval | None:
    if errors.accuracy_interval is None:
        return None
    low, high = errors.accuracy_interval
    return _PERCENT * low, _PERCENT * high


def _constant_percent(result: CellResult) -> float:
    assert result.constant_accuracy is not None
    return _PERCENT * result.constant_accuracy


def _percent(errors: ErrorFigures) -> float:
    return _PERCENT * errors.accuracy


MEASURES: Final[dict[Task, Measure]] = {
    "localization": Measure(
        "localization error", "cm", False, _mean_cm, lambda errors: errors.mean_interval_cm, _constant_cm,
        "Errors are mean distances in centimetres over the test samples with a car"),
    "classification": Measure(
        "classification accuracy", "%", True, _percent, _percent_interval, _constant_percent,
        "Entries are accuracies in percent over the test clips")}
"""Measure of each task."""
