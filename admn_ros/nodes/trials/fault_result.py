# SPDX-License-Identifier: Apache-2.0
"""Result of a fault, and what sensor faults and system faults share: setup, waiting, and counting."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from admn_ros.nodes.process_signals import pause
from admn_ros.nodes.trials.feed import SensorFeed
from admn_ros.nodes.trials.missing_inputs import describe_missing
from admn_ros.nodes.trials.perception_under_test import PerceptionUnderTest, ReportedFrame
from admn_ros.sample import Modality

MIN_FRAMES = 3
"""Number of frames that show that output continues."""


@dataclass
class FaultResult:
    """Result of one fault. Times are in seconds; None where there is nothing to measure.

    Attributes:
        fault: name of the fault.
        frames_in: measurements of the reference camera during the fault.
        frames_out: frames that the node reported during the fault.
        longest_gap_s: longest time between two reported frames, the last before the fault included.
        noticed_s: time from the fault until the output reflects it.
        recovery_s: time from the end of the fault until a later frame has the input from all its sensor nodes.
        refused: refused sensor messages.
        violations: frames that exceeded their budget.
        outcome: what happened, in words.
        failures: requirements that were not met; empty if the fault passed.
    """

    fault: str
    frames_in: int = 0
    frames_out: int = 0
    longest_gap_s: float | None = None
    noticed_s: float | None = None
    recovery_s: float | None = None
    refused: int = 0
    violations: int = 0
    outcome: str = ""
    failures: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """"passed", or "FAILED" with the failures."""
        return "passed" if not self.failures else "FAILED: " + "; ".join(self.failures)

    def require(self, condition: bool, failure: str) -> None:
        """Record a failure if a condition does not hold."""
        if not condition:
            self.failures.append(failure)


@dataclass(frozen=True)
class Limits:
    """Durations of the faults, and time limits. Only the time limits decide a verdict.

    Attributes:
        fault_s: shortest duration of a fault.
        patience_s: longest wait for a reaction.
        gap_s: longest gap in the output that passes.
    """

    fault_s: float = 3.0
    patience_s: float = 20.0
    gap_s: float = 2.0


@dataclass(frozen=True)
class FaultSetup:
    """A running node, its sensors and the time limits of the faults."""

    subject: PerceptionUnderTest
    feed: SensorFeed
    limits: Limits

    def wait_for_inputs(self, modality: Modality | None = None) -> bool:
        """Wait for a frame that has a modality, or every one, from all its sensor nodes; False on timeout."""
        wanted = {str(k.modality) for k in self.feed.streams} if modality is None else {str(modality)}
        return self.wait_for_frame(lambda f: wanted <= f.complete) is not None

    def require_inputs(self, result: FaultResult, failure: str) -> None:
        """Wait for a frame with every input; without one, record a failure that names what was missing and why."""
        since_s = time.monotonic()
        if not self.wait_for_inputs():
            result.require(False, f"{failure}: {self.describe_missing(since_s)}")

    def describe_missing(self, since_s: float) -> str:
        """Describe the inputs that were missing in the frames since a time on the monotonic clock."""
        listener = self.subject.listener
        frames = [f.missing for f in list(listener.frames) if f.received_s >= since_s]
        subscribers = {str(key): stream.subscribers for key, stream in self.feed.streams.items()}
        return describe_missing(frames, listener.statuses, subscribers)

    def wait_for_frame(self, condition: Callable[[ReportedFrame], bool], since_s: float | None = None,
                       timeout_s: float | None = None) -> float | None:
        """Wait for a frame for which a condition holds.

        Args:
            condition: condition on the frame.
            since_s: earliest arrival, on the monotonic clock; now by default.
            timeout_s: longest wait in seconds; `Limits.patience_s` by default.

        Returns:
            Seconds from `since_s` to the frame; None on timeout.
        """
        start_s = time.monotonic() if since_s is None else since_s
        found: list[ReportedFrame] = []

        def poll() -> bool:
            found.extend(f for f in self.subject.listener.frames[-50:] if f.received_s >= start_s and condition(f))
            return bool(found)

        return found[0].received_s - start_s if self.subject.wait(poll, timeout_s or self.limits.patience_s) else None

    def wait_for_diagnostics(self) -> None:
        """Wait for counters that are newer than everything before the call."""
        before = self.subject.listener.reports
        self.subject.wait(lambda: self.subject.listener.reports >= before + 2, self.limits.patience_s)


class FaultWindow:
    """The outputs of the node from the start of a fault until `close`."""

    def __init__(self, setup: FaultSetup, result: FaultResult) -> None:
        self._setup, self.result = setup, result
        listener = setup.subject.listener
        self._first_frame, self._first_pose = len(listener.frames), len(listener.poses)
        self._refused = listener.refused_messages()
        self._measured = self._measurements()
        self.start_s, self.start_ns = time.monotonic(), time.time_ns()

    @property
    def frames(self) -> list[ReportedFrame]:
        """Frames reported since the start."""
        return self._setup.subject.listener.frames[self._first_frame:]

    def wait_for_frames(self) -> None:
        """Wait for the duration of a fault, and for a few more frames."""
        limits = self._setup.limits
        pause(max(0.0, self.start_s + limits.fault_s - time.monotonic()))
        before = len(self.frames)
        self._setup.subject.wait(lambda: len(self.frames) >= before + MIN_FRAMES, limits.patience_s)

    def close(self, gap_s: float | None = None) -> FaultResult:
        """Wait for the frames that a verdict needs, count, and check the requirements of every fault.

        Args:
            gap_s: longest gap in the output that passes; `Limits.gap_s` by default.
        """
        self._setup.subject.wait(lambda: len(self.frames) >= MIN_FRAMES, self._setup.limits.patience_s)
        result, frames, listener = self.result, self.frames, self._setup.subject.listener
        poses = listener.poses[self._first_pose:]
        times = [f.received_s for f in listener.frames[max(0, self._first_frame - 1):]]
        result.frames_in = max(a - b for a, b in zip(self._measurements(), self._measured, strict=True))
        result.frames_out = len(frames)
        gaps_s = [b - a for a, b in itertools.pairwise(times)]
        result.longest_gap_s = max(gaps_s, default=None)
        result.refused = max(0, listener.refused_messages() - self._refused)
        result.violations = sum(f.violation for f in frames)
        failed = sum(f.failed for f in frames)
        result.require(len(frames) >= MIN_FRAMES, f"{len(frames)} frames reported")
        result.require(bool(poses), "no pose")
        result.require(max(gaps_s, default=0.0) <= (self._setup.limits.gap_s if gap_s is None else gap_s),
                       f"a gap of {max(gaps_s, default=0.0):.2f} s")
        result.require(not result.violations, f"{result.violations} frames exceeded their budget")
        result.require(not failed, f"the network failed on {failed} frames")
        result.require(all(p.finite for p in poses), "a pose that is not finite")
        return result

    def _measurements(self) -> list[int]:
        """Return the number of measurements so far of the cameras, each of which can be the reference."""
        feed = self._setup.feed
        return [s.ticks for s in feed.streams_of(Modality.RGB) or list(feed.streams.values())]
