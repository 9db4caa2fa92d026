# SPDX-License-Identifier: Apache-2.0
"""What run folders hold."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from admn_ros.training.loop import RATE


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of metrics.jsonl and metrics.csv without the speed, which no two runs share."""
    with (folder / "metrics.csv").open() as file:
        table: list[dict[str, Any]] = list(csv.DictReader(file))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()] + table
    return [{name: value for name, value in row.items() if name != RATE} for row in rows]
