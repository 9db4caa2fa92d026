# SPDX-License-Identifier: Apache-2.0
"""Faults other than those of a sensor: processes that die, too much data, a budget that changes at every frame."""

from __future__ import annotations

import itertools
import math
import time
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticStatus

from admn_ros.nodes.process_signals import pause
from admn_ros.nodes.processes import NodeProcess
from admn_ros.nodes.trials.fault_result import MIN_FRAMES, FaultResult, FaultSetup, FaultWindow
from admn_ros.nodes.trials.feed import StreamFault
from admn_ros.nodes.trials.perception_under_test import START_TIMEOUT_S, ReportedFrame

GOVERNOR = "governor"
FLOOD_SPEED = 3.0        # multiple of the normal rate
MAX_GROWTH_MIB = 64.0    # a leak of one image per second exceeds this within 60 s; one growth of the heap does not
MIN_CHANGES = 10         # of the budget in force


class SystemFaults:
    """Faults of the system around a running node. Each method returns its result."""

    def __init__(self, setup: FaultSetup) -> None:
        self._setup, self._subject = setup, setup.subject

    def kill_governor(self, model: Path, layers_total: int) -> FaultResult:
        """Kill a governor that sets the budget, and start it again."""
        costs = {"model": model} if model.is_dir() else {}
        parameters = {"autostart": True, "max_layers": layers_total, **costs}
        governor = NodeProcess(GOVERNOR, **parameters)
        result = FaultResult("the governor is killed and started again")
        self._setup.require_inputs(result, "an input was missing before the fault")
        try:
            result.require(self._wait_for_source(True) is not None, "the governor's budget never came into force")
            window = FaultWindow(self._setup, result)
            governor.kill()
            result.noticed_s = self._wait_for_source(False)
            result.require(result.noticed_s is not None, "its budget never expired")
            governor = NodeProcess(GOVERNOR, **parameters)
            result.recovery_s = self._wait_for_source(True)
            result.require(result.recovery_s is not None, "the new governor's budget never came into force")
        finally:
            governor.stop()
        result.outcome = "the default budget is in force once the last one has expired; the new one is followed"
        return window.close()

    def kill_node(self) -> FaultResult:
        """Kill the perception node and start it again. The gap is the start of a process."""
        result = FaultResult("the perception node is killed and started again")
        self._setup.require_inputs(result, "an input was missing before the fault")
        window = FaultWindow(self._setup, result)
        self._subject.process.kill()
        died_ns = time.time_ns()
        self._subject.listener.statuses.clear()
        killed_s = time.monotonic()
        self._subject.start()
        result.recovery_s = self._setup.wait_for_frame(lambda f: f.stamp_ns > died_ns, killed_s, START_TIMEOUT_S)
        result.require(result.recovery_s is not None, "no frame from the new process")
        self._setup.require_inputs(result, "not every input came back")
        result.require(all(f.stamp_ns > died_ns for f in window.frames[-MIN_FRAMES:]), "old frames were reported")
        result.outcome = "the new process reports no old frame; the gap is its start"
        return window.close(gap_s=math.inf)

    def flood(self, seconds: float) -> FaultResult:
        """Send every topic at three times its rate."""
        feed = self._setup.feed
        result = FaultResult(f"{len(feed.streams)} topics at {FLOOD_SPEED:g}x their rate for {seconds:g} s")
        self._setup.require_inputs(result, "an input was missing before the fault")
        window = FaultWindow(self._setup, result)
        feed.set_fault(None, StreamFault(speed=FLOOD_SPEED))
        memory, ages = [], []
        try:
            for _ in range(10):
                frames = len(window.frames)
                pause(seconds / 10)
                self._subject.wait(lambda: len(window.frames) > frames, self._setup.limits.patience_s)  # noqa: B023
                memory.append(self._subject.process.memory().own)
                ages.append(window.frames[-1].age_ms if window.frames else 0.0)
        finally:
            feed.set_fault(None, StreamFault())
        stamps = [f.stamp_ns for f in window.frames]
        growth = memory[-1] - memory[1]  # queues fill in the first tenth
        result.require(growth < MAX_GROWTH_MIB, f"memory grew by {growth:.0f} MiB")
        result.require(stamps == sorted(set(stamps)), "frames out of order")
        result.require(min(ages[-3:]) < 2e3, f"results are {min(ages[-3:]):.0f} ms old: a queue grows")
        dropped = window.frames[-1].dropped - window.frames[0].dropped if window.frames else 0
        result.outcome = (f"the newest frame is processed, {dropped} older ones dropped; "
                          f"memory {memory[1]:.0f} to {memory[-1]:.0f} MiB")
        return window.close()

    def alternate_budget(self, layers_total: int, seconds: float) -> FaultResult:
        """Answer every frame with another budget: one layer, all, one layer, ..."""
        result = FaultResult("the budget changes at every frame between one layer and all")
        listener, levels = self._subject.listener, itertools.cycle((1.0, float(layers_total)))
        self._setup.require_inputs(result, "an input was missing before the fault")
        window = FaultWindow(self._setup, result)
        listener.on_frame = lambda frame: listener.request_budget(next(levels))
        try:
            self._subject.wait(lambda: time.monotonic() > window.start_s + seconds
                               and _changes(window.frames) >= MIN_CHANGES, self._setup.limits.patience_s + seconds)
        finally:
            listener.on_frame = None
            listener.withdraw_budget()
        changes = _changes(window.frames)
        result.require(changes >= MIN_CHANGES, f"{changes} changes came into force")
        result.outcome = f"{changes} changes between frames; each frame keeps the budget that it started with"
        return window.close()

    def contradict(self, layers_total: int, seconds: float) -> FaultResult:
        """Let two power managers of equal priority ask for little and for everything, while a third sends NaN."""
        result = FaultResult("two power managers of equal priority disagree, a third one sends NaN")
        listener, low = self._subject.listener, 2.0
        requests = {"modest": low, "greedy": float(layers_total), "broken": math.nan}
        self._setup.require_inputs(result, "an input was missing before the fault")
        window = FaultWindow(self._setup, result)
        listener.on_frame = lambda frame: [listener.request_budget(n, source) for source, n in requests.items()]
        try:
            result.noticed_s = self._setup.wait_for_frame(lambda f: f.requested == low)
            result.require(result.noticed_s is not None, "the lower budget never came into force")
            start = len(window.frames)
            reported = self._subject.wait(
                lambda: time.monotonic() > window.start_s + seconds and len(window.frames) >= start + MIN_CHANGES
                and self._budget_value("contest").endswith(f"modest 2 layers, greedy {layers_total} layers")
                and self._budget_value("refused_sources").startswith("broken: "),
                self._setup.limits.patience_s + seconds)
            result.require(reported, "diagnostics did not name the contest and the source that is refused")
            followed = window.frames[start:]
            result.require(all(f.requested == low for f in followed), "the budget jumped between the two")
        finally:
            listener.on_frame = None
            for source in requests:
                listener.withdraw_budget(source)
        result.recovery_s = self._setup.wait_for_frame(lambda f: f.source not in requests)
        result.require(result.recovery_s is not None, "a withdrawn budget stayed in force")
        result.outcome = f"the lower budget held for {len(followed)} frames; withdrawn, both are gone"
        return window.close()

    def _budget_value(self, key: str) -> str:
        return self._subject.listener.statuses.get("budget", {}).get(key, "")

    def stop_all_sensors(self) -> FaultResult:
        """Stop every sensor until the diagnostics report the missing output as an error, then start them again."""
        result, listener = FaultResult("all sensors stop and return"), self._subject.listener
        patience_s = self._setup.limits.patience_s
        self._setup.require_inputs(result, "an input was missing before the fault")
        window = FaultWindow(self._setup, result)
        self._setup.feed.set_fault(None, StreamFault(silent=True))
        reported = self._subject.wait(lambda: listener.levels.get("inference") == DiagnosticStatus.ERROR, patience_s)
        result.noticed_s = time.monotonic() - window.start_s if reported else None
        result.require(reported, "inference never became an error")
        result.outcome = f"no output; the error of inference: {listener.statuses.get('inference', {}).get('message')}"
        self._setup.feed.set_fault(None, StreamFault())
        cleared_ns = time.time_ns()
        result.recovery_s = self._setup.wait_for_frame(lambda f: f.stamp_ns > cleared_ns)
        result.require(result.recovery_s is not None, "no frame after the sensors returned")
        self._setup.require_inputs(result, "not every input came back")
        result.require(self._subject.wait(lambda: listener.levels.get("inference") == DiagnosticStatus.OK, patience_s),
                       "inference stayed an error")
        return window.close(gap_s=math.inf)

    def _wait_for_source(self, governor: bool) -> float | None:
        """Wait until a frame's budget is the governor's, or is not; the governor may have to start first."""
        return self._setup.wait_for_frame(lambda f: (f.source == GOVERNOR) is governor, timeout_s=START_TIMEOUT_S)


def _changes(frames: list[ReportedFrame]) -> int:
    return sum(a.requested != b.requested for a, b in itertools.pairwise(frames))
