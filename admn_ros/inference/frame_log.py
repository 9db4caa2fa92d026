# SPDX-License-Identifier: Apache-2.0
"""Counters and latencies of the frames of a node."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import quantiles

from admn_ros.model.allocation import Allocation

LATENCIES = 300
"""Number of latest frames whose latencies are kept."""


@dataclass
class FrameLog:
    """Frames since the node was configured.

    Attributes:
        frames: number of frames with an allocation.
        violations: number of frames that spent more than granted.
        failures: number of frames on which the network failed.
        budgets_refused: number of budgets that could not be used.
        last_error: reason of the last failure or refusal; empty without one.
        last: allocation of the latest frame.
        latency_ms: time from the newest input of a frame to its result, in milliseconds, of the latest frames.
        inference_ms: time in preprocessing and network, in milliseconds, of the latest frames.
    """

    frames: int = 0
    violations: int = 0
    failures: int = 0
    budgets_refused: int = 0
    last_error: str = ""
    last: Allocation | None = None
    latency_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES))
    inference_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES))

    def add(self, allocation: Allocation, latency_ms: float, inference_ms: float) -> None:
        """Record a frame."""
        self.frames += 1
        self.violations += allocation.spent > allocation.granted_limit
        self.last = allocation
        self.latency_ms.append(latency_ms)
        self.inference_ms.append(inference_ms)

    def fail(self, error: Exception) -> None:
        """Record a frame on which the network failed."""
        self.failures += 1
        self.last_error = f"{type(error).__name__}: {error}"

    def refuse_budget(self, error: Exception) -> None:
        """Record a budget that could not be used."""
        self.budgets_refused += 1
        self.last_error = str(error)


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the 50th and the 95th percentile; zeros for an empty sequence. Safe for a deque that grows meanwhile."""
    kept = list(values)
    if len(kept) < 2:
        return (kept[0], kept[0]) if kept else (0.0, 0.0)
    cuts = quantiles(kept, n=20, method="inclusive")
    return cuts[9], cuts[18]
