# SPDX-License-Identifier: Apache-2.0
"""Clock of arriving messages."""

from __future__ import annotations

import threading
import time

from rclpy.node import Node

STOPPED_S = 3.0
"""Real time without a new time on `/clock` after which it counts as stopped, in seconds."""
FIRST_S = 8.0
"""Real time that the first message on `/clock` may take without being reported: simulators start slowly; in seconds."""
SETTLING_S = 4.0
"""Time after a jump back of `/clock` in which most known stamps are from before the jump, in seconds."""
_NS = 1_000_000_000


class SimulatedClock:
    """Monotonic clock that follows `/clock`, and goes on in real time while that stands still.

    A jump back of `/clock`, as from a bag that loops, does not turn it back, and the first time on `/clock` does not
    turn it ahead.
    """

    def __init__(self) -> None:
        self._ns = 0
        self._ros_ns = 0
        self._steady_ns: int | None = None
        self._moved_ns = 0
        self._back_ns: int | None = None

    def at(self, ros_ns: int, steady_ns: int) -> int:
        """Return the time of this clock.

        Args:
            ros_ns: latest time on `/clock` in nanoseconds; 0 before the first.
            steady_ns: time of a steady clock in nanoseconds.
        """
        if self._steady_ns is None:
            self._ns = self._moved_ns = self._steady_ns = steady_ns
        elif ros_ns != self._ros_ns:
            self._ns += max(0, ros_ns - self._ros_ns) if self._ros_ns else 0
            self._back_ns = self._ns if ros_ns < self._ros_ns else self._back_ns
            self._moved_ns = steady_ns
        else:
            self._ns += max(0, steady_ns - max(self._steady_ns, self._moved_ns + round(STOPPED_S * _NS)))
        self._ros_ns, self._steady_ns = ros_ns, max(steady_ns, self._steady_ns)
        return self._ns

    @property
    def settled(self) -> bool:
        """Whether `/clock` has not jumped back within the last `SETTLING_S`, at its speed, before the last `at`."""
        return self._back_ns is None or self._ns - self._back_ns >= SETTLING_S * _NS

    @property
    def stopped_s(self) -> float:
        """Real time since `/clock` moved, in seconds, at the last call of `at`; 0 while it runs."""
        still_ns = (self._steady_ns or 0) - self._moved_ns
        return still_ns / _NS if still_ns > STOPPED_S * _NS else 0.0


class ReceiveClock:
    """Monotonic clock: real time, or `/clock` where `use_sim_time` is set.

    Waiting times and silences scale with the replay: at a tenth of the speed they last ten times as long. If nothing
    comes on `/clock`, or it stops, time passes all the same, so that budgets expire and silent inputs are noticed.

    Args:
        node: node with the parameter `use_sim_time`.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._clock = SimulatedClock()

    @property
    def simulated(self) -> bool:
        """Whether the clock follows `/clock`, at any speed."""
        return bool(self._node.get_parameter("use_sim_time").value)

    def now_s(self) -> float:
        """Return the current time in seconds since an arbitrary start. Safe to call from any thread."""
        if not self.simulated:
            return time.monotonic()
        with self._lock:
            return self._clock.at(self._ros_ns, time.monotonic_ns()) / _NS

    @property
    def stamp_ns(self) -> int | None:
        """Current time for comparison with stamps, in nanoseconds; None while `/clock` has none, stands still or
        jumped back just now."""
        self.now_s()
        usable = self._ros_ns and not self._clock.stopped_s and self._clock.settled
        return self._ros_ns if usable or not self.simulated else None

    @property
    def problem(self) -> str:
        """What is wrong with `/clock`; empty if nothing is."""
        self.now_s()
        allowed_s = 0.0 if self._ros_ns else FIRST_S
        if not self.simulated or self._clock.stopped_s <= allowed_s:
            return ""
        what = "has stood still" if self._ros_ns else "has had no message"
        return (f"use_sim_time is set, but /clock {what} for {self._clock.stopped_s:.0f} s; real time is used "
                "meanwhile. Publish /clock (ros2 bag play --clock, admn replay), or set use_sim_time to false")

    @property
    def _ros_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
