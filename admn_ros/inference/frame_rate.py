# SPDX-License-Identifier: Apache-2.0
"""Measured and limited frame rates."""

from __future__ import annotations

import math
from collections import deque


class FrameRate:
    """Mean rate of the latest frames, by their stamps.

    Args:
        window: number of frames to average over, at least 2.
    """

    def __init__(self, window: int = 16) -> None:
        self._stamps_ns: deque[int] = deque(maxlen=window)

    def add(self, stamp_ns: int) -> None:
        """Record a frame. Stamps that go back start a new measurement."""
        if self._stamps_ns and stamp_ns < self._stamps_ns[-1]:
            self._stamps_ns.clear()
        self._stamps_ns.append(stamp_ns)

    @property
    def hz(self) -> float:
        """Frames per second; 0 until two frames of different stamps are recorded. Safe to read from any thread."""
        stamps_ns = tuple(self._stamps_ns)
        span_ns = stamps_ns[-1] - stamps_ns[0] if stamps_ns else 0
        return (len(stamps_ns) - 1) * 1e9 / span_ns if span_ns > 0 else 0.0


class RateLimit:
    """Decides which frames are taken so that their mean rate stays within a limit.

    Frames that come a little early or late do not lower the rate: what was not taken is kept, up to one frame. Of any
    `seconds`, at most `rate_hz * seconds + 2` frames are taken.
    """

    _MOST = 2.0
    _ROUNDING = 1e-9

    def __init__(self) -> None:
        self._room, self._last_s = 1.0, math.nan

    def is_open(self, now_s: float, rate_hz: float) -> bool:
        """Return whether a frame would be taken now.

        Args:
            now_s: monotonic time in seconds.
            rate_hz: highest mean rate in Hz; 0 for no limit.
        """
        if not math.isnan(self._last_s):
            self._room = min(self._MOST, self._room + rate_hz * max(0.0, now_s - self._last_s))
        self._last_s = now_s
        return rate_hz == 0.0 or self._room >= 1.0 - self._ROUNDING

    def take(self, now_s: float, rate_hz: float) -> bool:
        """Take a frame that comes now, and return whether it was taken. Arguments as `is_open`."""
        taken = self.is_open(now_s, rate_hz)
        if taken and rate_hz:
            self._room -= 1.0
        return taken
