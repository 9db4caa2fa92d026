# SPDX-License-Identifier: Apache-2.0
"""Duration of the allocation alone, without the controller that it decides from."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from typing import Any

from admn_ros.budget.budget import Budget
from admn_ros.inference.engine import Engine
from admn_ros.model.allocation import Allocation
from admn_ros.sample import MultimodalSample

REPEATS = 5


def decision_ms(engine: Engine, samples: Iterable[MultimodalSample], budgets: Sequence[Budget]) -> float:
    """Return the median duration of the model's own policy over frames and budgets, in milliseconds.

    The policy gets what the controller found in real frames. Each call is repeated, and its shortest duration counts,
    because other load on the machine can only add to it.

    Raises:
        InputError: a sample does not fit the model, or a budget has no costs.
    """
    policy, durations = engine.policy, []

    def timed(*args: Any, **options: Any) -> Allocation:
        shortest = float("inf")
        for _ in range(REPEATS):
            began = time.perf_counter()
            allocation = policy(*args, **options)
            shortest = min(shortest, time.perf_counter() - began)
        durations.append(1e3 * shortest)
        return allocation

    for sample in samples:
        for budget in budgets:
            engine.infer(sample, budget, decide=timed)
    return statistics.median(durations) if durations else 0.0
