# SPDX-License-Identifier: Apache-2.0
"""Faults of what stands around the sensors: the governor, the node itself, too much data, a restless budget."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from admn_ros.nodes.processes import NodeProcess
from admn_ros.nodes.trials.fault_rows import ENOUGH, Injector, Limits, Row, Window, expect
from admn_ros.nodes.trials.feed import Feed, Trouble
from admn_ros.nodes.trials.perception_under_test import START_TIMEOUT_S, Bench, Seen

GOVERNOR = "governor"
FLOOD = 3.0  # times the rate
GROWTH_MIB = 64.0  # a leak of one image per second would pass this in the first 60 s; one heap top-up does not
MINIMUM = 1.0
CHANGES = 10  # of the budget, that came into force


class SystemFaults:
    """Each method does one thing to a running node and says what came of it."""

    def __init__(self, bench: Bench, feed: Feed, injector: Injector, limits: Limits) -> None:
        self._bench, self._feed, self._injector, self._limits = bench, feed, injector, limits

    def governor_dies(self, model: Path, layers_total: int) -> Row:
        """A governor sets the budget, is killed, and is started again."""
        costs = {"model": model} if model.is_dir() else {}
        options = {"autostart": True, "max_layers": layers_total, **costs}
        governor = NodeProcess(GOVERNOR, **options)
        row = Row("the governor is killed and started again")
        self._injector.settle()
        try:
            expect(row, self._see_source(True) is not None, "the governor's budget never came")
            window = Window(self._bench, self._feed, row)
            governor.kill()
            row.noticed_s = self._see_source(False)
            expect(row, row.noticed_s is not None, "its budget was kept for ever")
            governor = NodeProcess(GOVERNOR, **options)
            row.recovery_s = self._see_source(True)
            expect(row, row.recovery_s is not None, "the new governor was not followed")
        finally:
            governor.stop()
        row.said = "the default budget holds once the last one has run out; the new one is followed"
        return window.close(self._limits.gap_s)

    def node_dies(self) -> Row:
        """The perception node is killed and started again. The gap is the start of a process."""
        row = Row("the perception node is killed and started again")
        self._injector.settle()
        window = Window(self._bench, self._feed, row)
        self._bench.perception.kill()
        died_ns = time.time_ns()
        self._bench.listener.statuses.clear()
        begun_s = time.monotonic()
        self._bench.start_perception()
        row.recovery_s = self._injector.see(lambda f: f.stamp_ns > died_ns, begun_s, START_TIMEOUT_S)
        expect(row, row.recovery_s is not None, "no frame came from the new one")
        expect(row, self._injector.settle(), "not every input came back")
        expect(row, all(f.stamp_ns > died_ns for f in window.frames[-ENOUGH:]), "old frames came out")
        row.said = "nothing from before comes out of the new one; the gap is its start"
        return window.close(float("inf"))

    def flood(self, seconds: float) -> Row:
        """Every topic at three times its rate."""
        row = Row(f"{len(self._feed.streams)} topics at {FLOOD:g}x their rate for {seconds:g} s")
        self._injector.settle()
        window = Window(self._bench, self._feed, row)
        self._feed.trouble(None, Trouble(speed=FLOOD))
        memory, ages = [], []
        try:
            for _ in range(10):
                frames = len(window.frames)
                time.sleep(seconds / 10)
                self._bench.wait(lambda: len(window.frames) > frames, self._limits.patience_s)  # noqa: B023
                memory.append(self._bench.perception.memory().own)
                ages.append(window.frames[-1].age_ms if window.frames else 0.0)
        finally:
            self._feed.trouble(None, Trouble())
        stamps = [f.stamp_ns for f in window.frames]
        grown = memory[-1] - memory[1]  # the first tenth fills the queues
        expect(row, grown < GROWTH_MIB, f"{grown:.0f} MiB more memory")
        expect(row, stamps == sorted(set(stamps)), "frames out of order")
        expect(row, min(ages[-3:]) < 2e3, f"results are {min(ages[-3:]):.0f} ms old: a queue grows")
        dropped = window.frames[-1].dropped - window.frames[0].dropped if window.frames else 0
        row.said = (f"the newest frame wins, {dropped} older ones dropped; "
                    f"memory {memory[1]:.0f} to {memory[-1]:.0f} MiB")
        return window.close(self._limits.gap_s)

    def restless_budget(self, layers_total: int, seconds: float) -> Row:
        """Every frame that comes out is answered with another budget: one layer, everything, one layer, ..."""
        row = Row("the budget changes at every frame between one layer and all")
        listener, levels = self._bench.listener, itertools.cycle((MINIMUM, float(layers_total)))
        self._injector.settle()
        window = Window(self._bench, self._feed, row)
        listener.on_frame = lambda seen: listener.budget(next(levels))
        try:
            self._bench.wait(lambda: time.monotonic() > window.begun_s + seconds
                             and self._changes(window.frames) >= CHANGES, self._limits.patience_s + seconds)
        finally:
            listener.on_frame = None
        changes = self._changes(window.frames)
        expect(row, changes >= CHANGES, f"{changes} changes came into force")
        row.said = f"{changes} changes between frames; each frame keeps the budget it started with"
        return window.close(self._limits.gap_s)

    @staticmethod
    def _changes(frames: list[Seen]) -> int:
        return sum(a.requested != b.requested for a, b in itertools.pairwise(frames))

    def _see_source(self, governor: bool) -> float | None:
        """Seconds until a frame's budget is the governor's, or is not. A process may have to start meanwhile."""
        return self._injector.see(lambda f: (f.source == GOVERNOR) is governor, patience_s=START_TIMEOUT_S)
