# SPDX-License-Identifier: Apache-2.0
"""Clock of arriving messages."""

from __future__ import annotations

import threading
import time

from rclpy.node import Node


class ReceiveClock:
    """Monotonic clock: real time, or `/clock` where `use_sim_time` is set.

    Waiting times and silences scale with the replay: at a tenth of the speed they last ten times as long. A jump back
    of `/clock`, as from a bag that loops, does not turn this clock back.

    Args:
        node: node with the parameter `use_sim_time`.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._last_s = self._offset_s = 0.0

    @property
    def simulated(self) -> bool:
        """Whether the clock follows `/clock`, at any speed."""
        return bool(self._node.get_parameter("use_sim_time").value)

    def now_s(self) -> float:
        """Return the current time in seconds since an arbitrary start. Safe to call from any thread."""
        if not self.simulated:
            return time.monotonic()
        with self._lock:
            ros_s = self._node.get_clock().now().nanoseconds * 1e-9
            self._offset_s += max(0.0, self._last_s - ros_s)
            self._last_s = ros_s
            return ros_s + self._offset_s
