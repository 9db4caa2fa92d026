# SPDX-License-Identifier: Apache-2.0
"""The clock by which messages arrive."""

from __future__ import annotations

import threading
import time

from rclpy.node import Node


class ReceiveClock:
    """Seconds that never go back: real time, or `/clock` where the node follows it.

    Waits and silences are about the sensors' pace. In a replay at a tenth of the speed they last ten
    times as long, and a bag that loops does not turn them back.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._last_s = self._offset_s = 0.0

    def now_s(self) -> float:
        """Now, in seconds from some start."""
        if not self._node.get_parameter("use_sim_time").value:
            return time.monotonic()
        with self._lock:
            ros_s = self._node.get_clock().now().nanoseconds * 1e-9
            self._offset_s += max(0.0, self._last_s - ros_s)
            self._last_s = ros_s
            return ros_s + self._offset_s
