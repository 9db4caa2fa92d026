# SPDX-License-Identifier: Apache-2.0
"""Which epoch of a run is the one to keep, and when to stop: functions of its figures alone.

So a run that is resumed decides as if it had not stopped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from admn_ros.training.config import OptimizerConfig
from admn_ros.training.run_folder import Row


def kept_epoch(config: OptimizerConfig, rows: Sequence[Row]) -> int:
    """The epoch, from 1, whose weights are kept of those so far; 0 if there are none."""
    return _best(config.best_of, rows) if config.keep == "best" and config.best_of is not None else len(rows)


def out_of_patience(config: OptimizerConfig, rows: Sequence[Row]) -> bool:
    """Whether the best of the figure is `patience` epochs ago."""
    if config.patience is None or config.best_of is None:
        return False
    return len(rows) - _best(config.best_of, rows) >= config.patience


def _best(figure: str, rows: Sequence[Row]) -> int:
    """The first epoch with the best value; what is not finite is the worst."""
    sign = -1.0 if _more_is_better(figure) else 1.0
    values = [sign * row[figure] if math.isfinite(row.get(figure, math.nan)) else math.inf for row in rows]
    return values.index(min(values)) + 1 if values else 0


def _more_is_better(figure: str) -> bool:
    """Accuracies; all other figures are errors or losses."""
    return figure.rsplit("/", maxsplit=1)[-1].startswith("accuracy")
