# SPDX-License-Identifier: Apache-2.0
"""Buffer of one input of the synchronizer."""

from __future__ import annotations

import math
from collections import deque
from enum import Enum
from typing import NamedTuple

from admn_ros.deployment import SyncModality
from admn_ros.sample import MISSING, Array, Availability, Reading, SensorKey

_NS = 1_000_000_000
_RATE_GAIN = 0.1
_LATER_S = 1e-6
"""An input is live up to and including `silent_s`. The margin covers the rounding of that sum, also for clocks that
count from 1970."""


class Stamped(NamedTuple):
    """A reading in the buffer; the stamp is without the configured offset."""

    stamp_ns: int
    data: Array


class Stored(Enum):
    """Result of storing a reading."""

    KEPT = "kept"
    DUPLICATE = "duplicate"
    LATE = "late"


class InputBuffer:
    """Readings of one input, sorted by stamp, and its liveness.

    Only a stored reading proves that an input is live. A driver that repeats its last message forever is not.

    Args:
        key: input.
        settings: settings of its modality.
        capacity: maximum number of readings.

    Attributes:
        last_stamp_ns: stamp of the last reading that arrived, which is not always the largest.
        last_arrival_s: time of arrival of the last stored reading in seconds.
        period_ns: smoothed distance of the stamps in nanoseconds.
    """

    def __init__(self, key: SensorKey, settings: SyncModality, capacity: int) -> None:
        self.key = key
        self._use(settings)
        self.last_stamp_ns: int | None = None
        self.last_arrival_s: float | None = None
        self.period_ns: float | None = None
        self._capacity = capacity
        self._readings: deque[Stamped] = deque()

    def __len__(self) -> int:
        return len(self._readings)

    @property
    def newest(self) -> Stamped | None:
        """Reading with the largest stamp."""
        return self._readings[-1] if self._readings else None

    def retune(self, settings: SyncModality) -> int:
        """Change the settings, move the readings with the offset, and return by how many nanoseconds they move."""
        before_ns = self.offset_ns
        self._use(settings)
        by_ns = before_ns - self.offset_ns
        self._readings = deque(Stamped(r.stamp_ns + by_ns, r.data) for r in self._readings)
        if self.last_stamp_ns is not None:
            self.last_stamp_ns += by_ns
        return by_ns

    def is_live(self, now_s: float, silent_s: float) -> bool:
        """Return whether a reading was stored within the last `silent_s` seconds."""
        return self.last_arrival_s is not None and now_s - self.last_arrival_s <= silent_s

    def silent_from_s(self, silent_s: float) -> float:
        """Return the time from which on the input is not live unless a reading comes; minus infinity before any."""
        return -math.inf if self.last_arrival_s is None else self.last_arrival_s + silent_s + _LATER_S

    def store(self, reading: Stamped, now_s: float, emitted_ns: int | None) -> Stored:
        """Store a reading in the order of the stamps.

        A reading is late if no further frame can use it: further frames are newer than `emitted_ns`, and a closer
        reading exists or the buffer is full of newer ones.

        Args:
            reading: reading to store.
            now_s: time of arrival in seconds.
            emitted_ns: stamp of the last emitted frame.
        """
        readings = self._readings
        place = len(readings)
        while place and readings[place - 1].stamp_ns > reading.stamp_ns:
            place -= 1
        if place and readings[place - 1].stamp_ns == reading.stamp_ns:
            return Stored.DUPLICATE
        overtaken = place < len(readings) and emitted_ns is not None and readings[place].stamp_ns <= emitted_ns
        if overtaken or (place == 0 and len(readings) == self._capacity):
            return Stored.LATE
        if place == len(readings):
            self._learn_period(reading.stamp_ns)
        readings.insert(place, reading)
        if len(readings) > self._capacity:
            readings.popleft()
        self.last_stamp_ns, self.last_arrival_s = reading.stamp_ns, now_s
        return Stored.KEPT

    def is_settled(self, stamp_ns: int) -> bool:
        """Return whether waiting cannot bring a reading closer to a frame's stamp.

        This is the case if a newer reading has arrived, or if a reading is within the tolerance and the next one, a
        period later, would not be closer.
        """
        if self.last_stamp_ns is None or self.last_stamp_ns >= stamp_ns:
            return self.last_stamp_ns is not None
        age = min((abs(stamp_ns - r.stamp_ns) for r in self._readings), default=None)
        if age is None or age > self.tolerance_ns:
            return False
        return self.period_ns is None or age <= self.period_ns / 2

    def reading_at(self, stamp_ns: int) -> Reading:
        """Return the contribution of this input to a frame, as `Synchronizer` describes it."""
        before = next((r for r in reversed(self._readings) if r.stamp_ns <= stamp_ns), None)
        after = next((r for r in self._readings if stamp_ns < r.stamp_ns <= stamp_ns + self.tolerance_ns), None)
        age = None if before is None else stamp_ns - before.stamp_ns
        if after is not None and (age is None or after.stamp_ns - stamp_ns < age):
            return Reading(Availability.FRESH, after.data, after.stamp_ns)
        if before is None or age is None:
            return MISSING
        if age <= self.tolerance_ns:
            return Reading(Availability.FRESH, before.data, before.stamp_ns)
        return Reading(Availability.HELD, before.data, before.stamp_ns) if age <= self.hold_ns else MISSING

    def forget_before(self, emitted_ns: int) -> None:
        """Drop the readings that frames newer than `emitted_ns` cannot use: all but the last one up to that time."""
        while len(self._readings) > 1 and self._readings[1].stamp_ns <= emitted_ns:
            self._readings.popleft()

    def clear(self) -> None:
        """Drop the readings and stamps; the liveness does not change."""
        self._readings.clear()
        self.last_stamp_ns = None

    def silence(self) -> None:
        """Mark the input as not live, until its next reading is stored; its readings stay."""
        self.last_arrival_s = None

    def _use(self, settings: SyncModality) -> None:
        self.offset_ns = round(settings.offset_s * _NS)
        self.tolerance_ns = round(settings.tolerance_s * _NS)
        self.hold_ns = round(settings.hold_s * _NS)
        self.wait_s = settings.wait_s

    def _learn_period(self, stamp_ns: int) -> None:
        if not self._readings:
            return
        step = stamp_ns - self._readings[-1].stamp_ns
        self.period_ns = step if self.period_ns is None else self.period_ns + _RATE_GAIN * (step - self.period_ns)
