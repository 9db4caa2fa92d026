# SPDX-License-Identifier: Apache-2.0
"""Selection of the best epoch and early stopping, as functions of the metrics.

A resumed run therefore decides as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from admn_ros.training.config import OptimizerConfig
from admn_ros.training.run_folder import Row


def kept_epoch(config: OptimizerConfig, rows: Sequence[Row]) -> int:
    """Return the epoch (from 1) whose weights are kept so far; 0 before the first epoch."""
    return _best(config.best_of, rows) if config.keep == "best" and config.best_of is not None else len(rows)


def out_of_patience(config: OptimizerConfig, rows: Sequence[Row]) -> bool:
    """Return whether the best epoch is `patience` or more epochs ago."""
    if config.patience is None or config.best_of is None:
        return False
    return len(rows) - _best(config.best_of, rows) >= config.patience


def _best(metric: str, rows: Sequence[Row]) -> int:
    """Return the first epoch (from 1) with the best value. Values that are not finite are the worst."""
    sign = -1.0 if _is_maximized(metric) else 1.0
    values = [sign * row[metric] if math.isfinite(row.get(metric, math.nan)) else math.inf for row in rows]
    return values.index(min(values)) + 1 if values else 0


def _is_maximized(metric: str) -> bool:
    """Return whether a metric is an accuracy; all others are errors or losses."""
    return metric.rsplit("/", maxsplit=1)[-1].startswith("accuracy")
