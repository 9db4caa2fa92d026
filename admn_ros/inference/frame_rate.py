# SPDX-License-Identifier: Apache-2.0
"""Measured frame rate."""

from __future__ import annotations

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
