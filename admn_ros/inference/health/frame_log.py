# SPDX-License-Identifier: Apache-2.0
"""Counters and latencies of the frames of a node, in total and of the last seconds."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles

from admn_ros.model.allocation import Allocation

RECENT_S = 30.0
"""Length of the window that recent figures cover, in seconds."""
LATENCIES = 300
"""Number of latest frames whose latencies are kept."""
_EVENTS = 1000
Clock = Callable[[], float]
"""Steady clock in seconds."""


class RecentEvents:
    """Counts events in total and within the last `RECENT_S`, of which at most a thousand. Safe to read from any thread.

    Args:
        clock: steady clock.

    Attributes:
        total: number of events so far.
        last: description of the latest event; empty before the first.
        last_s: time of the latest event; minus infinity before the first.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock, self._times_s = clock, deque[float](maxlen=_EVENTS)
        self.total, self.last, self.last_s = 0, "", -math.inf

    def add(self, description: str = "") -> None:
        """Record an event now."""
        self.last, self.last_s = description, self._clock()
        self._times_s.append(self.last_s)
        self.total += 1

    @property
    def recent(self) -> int:
        """Number of events within the last `RECENT_S`."""
        since_s = self._clock() - RECENT_S
        return sum(at_s >= since_s for at_s in tuple(self._times_s))


@dataclass(frozen=True)
class Processed:
    """A frame that the network took and did not fail on.

    Attributes:
        at_s: time of its result on the steady clock.
        allocation: layers that ran; none where the budget is below the floor.
        latency_ms: time from its newest input to its result, in milliseconds.
        inference_ms: time in preprocessing and network, in milliseconds.
    """

    at_s: float
    allocation: Allocation
    latency_ms: float
    inference_ms: float


class FrameLog:
    """Frames since the node was configured.

    Args:
        clock: steady clock.

    Attributes:
        started_s: time from which on output is expected: the activation, or the latest moment at which none was due.
        frames: number of frames with an allocation.
        violations: number of frames that spent more than granted.
        failures: frames on which the network failed.
        refusals: budgets that could not be used.
        last_error: reason of the last failure or refusal; empty without one.
        last: latest frame; None before the first.
        last_estimate_s: time of the latest frame on which a layer ran; minus infinity before the first.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.clock = clock
        self.started_s = clock()
        self.frames = self.violations = 0
        self.failures, self.refusals = RecentEvents(clock), RecentEvents(clock)
        self.last_error = ""
        self.last: Processed | None = None
        self.last_estimate_s = -math.inf
        self._latest: deque[Processed] = deque(maxlen=LATENCIES)

    def expect_from_now(self) -> None:
        """Expect output from now on, and not before."""
        self.started_s = self.clock()

    def add(self, allocation: Allocation, latency_ms: float, inference_ms: float) -> None:
        """Record a frame."""
        self.frames += 1
        self.violations += allocation.spent > allocation.granted_limit
        self.last = Processed(self.clock(), allocation, latency_ms, inference_ms)
        if allocation.layers:
            self.last_estimate_s = self.last.at_s
            self._latest.append(self.last)

    def fail(self, error: Exception) -> None:
        """Record a frame on which the network failed."""
        self.last_error = f"{type(error).__name__}: {error}"
        self.failures.add(self.last_error)

    def refuse_budget(self, error: Exception) -> None:
        """Record a budget that could not be used."""
        self.last_error = str(error)
        self.refusals.add(self.last_error)

    @property
    def without_estimate_s(self) -> float:
        """Seconds for which an estimate has been due and none has come."""
        return self.clock() - max(self.started_s, self.last_estimate_s)

    @property
    def latest(self) -> list[Processed]:
        """Frames on which a layer ran, of the last `RECENT_S`, oldest first, at most `LATENCIES`."""
        since_s = max(self.started_s, self.clock() - RECENT_S)
        return [frame for frame in tuple(self._latest) if frame.at_s >= since_s]


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the 50th and the 95th percentile; NaN for an empty sequence."""
    if len(values) < 2:
        return (values[0], values[0]) if values else (math.nan, math.nan)
    cuts = quantiles(values, n=20, method="inclusive")
    return cuts[9], cuts[18]
