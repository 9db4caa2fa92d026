# SPDX-License-Identifier: Apache-2.0
"""What is done to a running perception node, what it must do then, and what it did: one row for each fault."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from rclpy.serialization import serialize_message

from admn_ros.nodes.trials import synthetic_messages as readings
from admn_ros.nodes.trials.feed import Feed, Trouble
from admn_ros.nodes.trials.perception_under_test import Bench, Seen
from admn_ros.sample import Availability, Modality

LAG_S, BACK_S = 0.3, 10.0
ENOUGH = 3  # frames that show that output goes on
Holds = Callable[[Seen], bool]


@dataclass
class Row:
    """One fault. Times in seconds; None where there is nothing to measure.

    frames_in: measurements of the leading camera in that time. frames_out: frames reported. longest_gap_s: between two
    of them, the last before the fault included. noticed_s: from the fault until the output told of it. recovery_s:
    from the end of the fault until a frame of afterwards had the input from all its sensor nodes. refused: sensor
    messages refused.
    broken: what it must do and did not; empty is a pass. said: what happened, for people.
    """

    fault: str
    frames_in: int = 0
    frames_out: int = 0
    longest_gap_s: float | None = None
    noticed_s: float | None = None
    recovery_s: float | None = None
    refused: int = 0
    violations: int = 0
    said: str = ""
    broken: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """In one word or a few."""
        return "passed" if not self.broken else "FAILED: " + "; ".join(self.broken)


@dataclass(frozen=True)
class Limits:
    """How long a fault lasts at least, and how long anything may take. Only the second decides a verdict."""

    fault_s: float = 3.0
    patience_s: float = 20.0
    gap_s: float = 2.0


class Window:
    """What happened between now and `close`."""

    def __init__(self, bench: Bench, feed: Feed, row: Row) -> None:
        self._bench, self._feed, self.row = bench, feed, row
        listener = bench.listener
        self._first_frame, self._first_pose = len(listener.frames), len(listener.poses)
        self._refused = listener.refused()
        self._ticks = self._measured()
        self.begun_s, self.begun_ns = time.monotonic(), time.time_ns()

    @property
    def frames(self) -> list[Seen]:
        """Frames reported since then."""
        return self._bench.listener.frames[self._first_frame:]

    def close(self, gap_s: float) -> Row:
        """Count, and check what holds under every fault."""
        row, frames = self.row, self.frames
        poses = self._bench.listener.poses[self._first_pose:]
        before = self._bench.listener.frames[max(0, self._first_frame - 1):self._first_frame]
        times = [f.received_s for f in (*before, *frames)]
        row.frames_in = max(a - b for a, b in zip(self._measured(), self._ticks, strict=True))
        row.frames_out = len(frames)
        row.longest_gap_s = max((b - a for a, b in itertools.pairwise(times)), default=math.inf)
        row.refused = max(0, self._bench.listener.refused() - self._refused)
        row.violations = sum(f.violation for f in frames)
        expect(row, len(frames) >= ENOUGH, f"{len(frames)} frames came out")
        expect(row, bool(poses), "no pose")
        expect(row, row.longest_gap_s <= gap_s, f"a gap of {row.longest_gap_s:.2f} s")
        expect(row, not row.violations, f"{row.violations} frames beyond their budget")
        expect(row, not any(f.failed for f in frames), f"the network failed on {sum(f.failed for f in frames)} frames")
        expect(row, all(p.finite for p in poses), "a pose that is not finite")
        return row

    def _measured(self) -> list[int]:
        """Measurements so far of the cameras, any of which may lead."""
        streams = self._feed.of(Modality.RGB) or list(self._feed.streams.values())
        return [s.ticks for s in streams]


def expect(row: Row, holds: bool, otherwise: str) -> None:
    """Note what does not hold."""
    if not holds:
        row.broken.append(otherwise)


class Injector:
    """Puts faults into the inputs of a running node, one after another."""

    def __init__(self, bench: Bench, feed: Feed, sizes: readings.Sizes, limits: Limits) -> None:
        self.bench, self.feed, self.limits = bench, feed, limits
        self._sizes, self._rng = sizes, np.random.default_rng(5)

    def settle(self, modality: Modality | None = None) -> bool:
        """Wait until a modality (None: every one) is there from all its sensor nodes; False when it never is."""
        wanted = {str(k.modality) for k in self.feed.streams} if modality is None else {str(modality)}
        return self.see(lambda f: wanted <= f.complete) is not None

    def see(self, holds: Holds, since_s: float | None = None, patience_s: float | None = None) -> float | None:
        """Seconds until a frame comes of which something holds; None when that takes too long."""
        start_s = time.monotonic() if since_s is None else since_s
        found: list[Seen] = []

        def look() -> bool:
            found.extend(f for f in self.bench.listener.frames[-50:] if f.received_s >= start_s and holds(f))
            return bool(found)

        return found[0].received_s - start_s if self.bench.wait(look, patience_s or self.limits.patience_s) else None

    def stop_and_return(self, modality: Modality) -> list[Row]:
        """Two rows: nothing comes; then it comes again."""
        stop = self._open(f"{modality} stops", modality, Trouble(silent=True))
        name = str(modality)
        stop.row.noticed_s = self.see(lambda f: f.states[name] is Availability.MISSING, stop.begun_s)
        self._last(stop)
        gone = [f for f in stop.frames if f.states[name] is Availability.MISSING]
        expect(stop.row, len(gone) >= ENOUGH, f"{len(gone)} frames said that it is missing")
        stop.row.said = "reported missing; output goes on without it"
        back = Window(self.bench, self.feed, Row(f"{modality} returns"))
        stopped = stop.close(self.limits.gap_s)
        self._recover(back, modality)
        back.row.said = "used again"
        return [stopped, back.close(self.limits.gap_s)]

    def lag(self, modality: Modality) -> Row:
        """Its messages come late, with true stamps."""
        name, leads = str(modality), modality is self._leading
        window = self._open(f"{modality} lags {1e3 * LAG_S:.0f} ms", modality, Trouble(lag_s=LAG_S))
        if leads:
            window.row.noticed_s = self.see(lambda f: f.transit_ms >= 1e3 * LAG_S, window.begun_s)
            window.row.said = "frames keep its stamps and come as late as it does"
        else:
            window.row.noticed_s = self.see(lambda f: f.states[name] is not Availability.FRESH, window.begun_s)
            window.row.said = "held or missing, not taken for fresh"
        self._last(window)
        expect(window.row, window.row.noticed_s is not None, "it was never noticed")
        if not leads:
            # Where the node itself is held up by as much, a late reading does come in time: most must not.
            lagging = [f for f in window.frames if f.stamp_ns > window.begun_ns + 1e9 * LAG_S]
            late = sum(f.states[name] is Availability.FRESH for f in lagging)
            expect(window.row, 2 * late <= len(lagging), f"{late} of {len(lagging)} frames took it for fresh")
        return self._heal(window, modality)

    def double(self, modality: Modality) -> Row:
        """Twice its rate."""
        window = self._open(f"{modality} doubles its rate", modality, Trouble(speed=2.0))
        self._last(window)
        self._check_still_there(window, modality)
        stamps = [f.stamp_ns for f in window.frames]
        expect(window.row, stamps == sorted(set(stamps)), "frames out of order")
        leads = modality is self._leading
        window.row.said = "frames follow it, the newest wins" if leads else "the nearest reading is used"
        return self._heal(window, modality)

    def not_finite(self, modality: Modality) -> Row:
        """Nothing but NaN."""
        refused = modality in (Modality.RGB, Modality.AUDIO)
        window = self._open(f"{modality} sends NaN", modality,
                            self._sending(readings.not_finite(modality, self._sizes)))
        if refused:
            self._check_refused(window, modality)
        else:
            self._last(window)
            self._check_still_there(window, modality)
            window.row.said = "accepted as invalid cells; poses stay finite"
        return self._heal(window, modality)

    def other_encoding(self, modality: Modality) -> Row:
        """Another encoding that is accepted."""
        other = readings.other_encoding(modality, self._sizes, self._rng)
        what = "byte order" if modality is Modality.RADAR else "encoding"
        window = self._open(f"{modality} changes its {what}", modality, self._sending(other))
        self._last(window)
        self._check_still_there(window, modality)
        window.row.said = "used as before"
        row = self._heal(window, modality)
        expect(row, not row.refused, f"{row.refused} messages refused")
        return row

    def unknown_encoding(self, modality: Modality) -> Row:
        """An encoding that nobody knows."""
        unknown = readings.unknown_encoding(modality, self._sizes, self._rng)
        window = self._open(f"{modality} sends an unknown encoding", modality, self._sending(unknown))
        self._check_refused(window, modality)
        return self._heal(window, modality)

    def jump_back(self, modality: Modality) -> Row:
        """Its clock jumps back, and later forward again."""
        name = str(modality)
        window = self._open(f"{modality} jumps back {BACK_S:.0f} s", modality, Trouble(shift_s=-BACK_S))
        window.row.noticed_s = self.see(lambda f: f.states[name] is Availability.MISSING, window.begun_s)
        expect(window.row, window.row.noticed_s is not None, "it was never reported missing")
        self._last(window)
        window.row.said = "missing while its clock disagrees with the others'; they go on"
        return self._heal(window, modality)

    @property
    def _leading(self) -> Modality:
        """The modality whose first input makes the frames."""
        return next(m for m in Modality if self.feed.of(m))

    def _open(self, fault: str, modality: Modality, trouble: Trouble) -> Window:
        row = Row(fault)
        expect(row, self.settle(), "not every input was there before")
        self._hear_diagnostics()
        window = Window(self.bench, self.feed, row)
        self.feed.trouble(modality, trouble)
        return window

    def _sending(self, message: readings.Message) -> Trouble:
        return Trouble(messages=(serialize_message(message),))

    def _last(self, window: Window) -> None:
        """Let the fault go on for its time, and for a few frames."""
        time.sleep(max(0.0, window.begun_s + self.limits.fault_s - time.monotonic()))
        since = len(window.frames)
        self.bench.wait(lambda: len(window.frames) >= since + ENOUGH, self.limits.patience_s)

    def _check_refused(self, window: Window, modality: Modality) -> None:
        name, row = str(modality), window.row
        row.noticed_s = self.see(lambda f: f.states[name] is Availability.MISSING, window.begun_s)
        expect(row, row.noticed_s is not None, "it was never reported missing")
        before = self.bench.listener.refused()
        expect(row, self.bench.wait(lambda: self.bench.listener.refused() > before, self.limits.patience_s),
               "no refusal was counted")
        self._last(window)
        row.said = "refused and counted, then missing; output goes on without it"

    def _check_still_there(self, window: Window, modality: Modality) -> None:
        away = sum(f.states[str(modality)] is Availability.MISSING for f in window.frames)
        # Frames that a busy machine delays may find a reading too old: what counts is that most do not.
        expect(window.row, 2 * away < len(window.frames), f"missing in {away} of {len(window.frames)} frames")

    def _recover(self, window: Window, modality: Modality) -> None:
        """Take the trouble away, and wait for a frame of afterwards that has the modality from all its nodes."""
        self.feed.trouble(modality, Trouble())
        name, cleared_ns = str(modality), time.time_ns()
        window.row.recovery_s = self.see(lambda f: f.stamp_ns > cleared_ns and name in f.complete)
        expect(window.row, window.row.recovery_s is not None, "it did not recover")
        self.bench.wait(lambda: len(window.frames) >= ENOUGH, self.limits.patience_s)
        self._hear_diagnostics()

    def _hear_diagnostics(self) -> None:
        """Wait for counters that are newer than everything before."""
        heard = self.bench.listener.reports
        self.bench.wait(lambda: self.bench.listener.reports >= heard + 2, self.limits.patience_s)

    def _heal(self, window: Window, modality: Modality) -> Row:
        self._recover(window, modality)
        return window.close(self.limits.gap_s)
