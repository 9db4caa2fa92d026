# SPDX-License-Identifier: Apache-2.0
"""One-shot timer."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

_SHORTEST_S = 1e-4


class Alarm:
    """Timer of real time that calls a function once, and can be set again. It costs nothing while it is not set.

    Args:
        node: node whose executor calls the function.
        callback: function to call.
    """

    def __init__(self, node: Node, callback: Callable[[], None]) -> None:
        self._node, self._callback = node, callback
        self._due_s: float | None = None
        self._timer = node.create_timer(1.0, self._ring, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._timer.cancel()

    def set(self, delay_s: float) -> None:
        """Call the function after a delay in seconds, or earlier if the alarm is set to an earlier time already."""
        delay_s = max(_SHORTEST_S, delay_s)
        due_s = time.monotonic() + delay_s
        if self._due_s is not None and self._due_s <= due_s:
            return
        self._due_s = due_s
        self._timer.timer_period_ns = round(delay_s * 1e9)
        self._timer.reset()

    def close(self) -> None:
        """Remove the timer."""
        self._node.destroy_timer(self._timer)

    def _ring(self) -> None:
        self._timer.cancel()
        self._due_s = None
        self._callback()
