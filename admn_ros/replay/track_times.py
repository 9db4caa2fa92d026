# SPDX-License-Identifier: Apache-2.0
"""Times of ground truth against those of a recording: unit, origin, overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from operator import itemgetter
from statistics import median

from admn_ros.errors import InputError
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.replay.ground_truth import NS, Track

NS_PER = {"s": NS, "ms": 1_000_000, "us": 1_000, "ns": 1}
NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
STEP_S = (2e-5, 100.0)
"""Smallest and largest plausible time between two positions, in seconds."""
CLOCKS_DIFFER_S = 1.0
"""Difference of the clocks of recorder and sensors from which on they count as two clocks, in seconds."""
READ_FOR_CLOCK = 30
"""Number of messages by which the clocks of recorder and sensors are compared."""
SINCE_1970_S = 1e8
"""Time of a clock from which on it counts since 1970, for texts, in seconds."""
ZONES_H = (*range(1, 15), 3.5, 4.5, 5.5, 5.75, 6.5, 8.75, 9.5, 10.5, 12.75)
"""Differences of time zones from UTC, in hours."""
SHIFTS_S = {**{sign * seconds: f"{name} against UTC" for seconds, name in ((18.0, "GPS time"), (37.0, "TAI"))
               for sign in (1, -1)},
            **{sign * 3600.0 * hours: f"{hours:g} h, a time zone" for hours in ZONES_H for sign in (1, -1)},
            315_964_782.0: "times since 1980, as of GPS"}
"""Known differences of clocks in seconds, with their names."""


@dataclass(frozen=True)
class BagTimes:
    """Times of a recording.

    Attributes:
        start_ns, end_ns: first and last stamp of the sensors (`header.stamp`), nanoseconds.
        ahead_ns: clock of the sensors minus clock of the recorder, nanoseconds; 0 if they agree.
        offset_s: offset that is added to the ground truth, in seconds.
        reach_s: tolerance at both ends of the recording, in seconds.
    """

    start_ns: int
    end_ns: int
    ahead_ns: int = 0
    offset_s: float = 0.0
    reach_s: float = 0.0

    @classmethod
    def of(cls, bag: BagReader, topics: Sequence[str], offset_s: float = 0.0, reach_s: float = 0.0) -> BagTimes:
        """Return the times of a recording, by the first messages of its inputs.

        Args:
            bag: recording.
            topics: topics of the inputs.
            offset_s, reach_s: attributes.

        Raises:
            InputError: the recording is broken.
        """
        ahead = []
        for number, (topic, recorded_ns, raw) in enumerate(bag.raw(topics)):
            with suppress(InputError, AttributeError):
                stamp = bag.deserialize(topic, raw).header.stamp
                if stamp.sec or stamp.nanosec:  # a stamp of zero is refused as a reading, too
                    ahead.append(stamp.sec * NS + stamp.nanosec - recorded_ns)
            if number >= READ_FOR_CLOCK:
                break
        ahead_ns = int(median(ahead)) if ahead else 0
        if abs(ahead_ns) < CLOCKS_DIFFER_S * NS:
            ahead_ns = 0
        return cls(bag.start_ns + ahead_ns, bag.end_ns + ahead_ns, ahead_ns, offset_s, reach_s)

    @property
    def length_s(self) -> float:
        """Duration in seconds."""
        return (self.end_ns - self.start_ns) / NS

    def overlap_ns(self, first_ns: float, last_ns: float) -> float:
        """Return how long ground truth overlaps with the recording, in nanoseconds; negative: the gap."""
        move_ns, reach_ns = self.offset_s * NS, self.reach_s * NS
        return min(last_ns + move_ns, self.end_ns + reach_ns) - max(first_ns + move_ns, self.start_ns - reach_ns)


@dataclass(frozen=True)
class TimeScale:
    """Meaning of the numbers of a file: `origin_ns + number * NS_PER[unit]` is a stamp.

    Attributes:
        unit: key of `NS_PER`.
        origin_ns: stamp of the number 0: 0 for a clock, or the start of the recording.
    """

    unit: str
    origin_ns: int

    def __str__(self) -> str:
        return NAMES[self.unit] + (" since the start of the recording" if self.origin_ns else "")


def find_scale(field: str, times: Sequence[float], stated: str | None, bag: BagTimes) -> TimeScale:
    """Find the unit and origin with which times of a file overlap with a recording.

    Times count by the clock of the sensors, or since the start of the recording, whichever overlaps longer. Without a
    stated unit, the unit is one with a plausible time between positions; of several, the one with which the file is
    about as long as the recording.

    Args:
        field: file and column, for errors.
        times: ascending times.
        stated: unit that the header states; None if it does not.
        bag: times of the recording.

    Raises:
        InputError: no unit and origin gives an overlap, or only another unit than the stated one.
    """
    scales = [scale for unit in NS_PER if (scale := _with_unit(unit, times, bag)) is not None]
    fitting = [scale for scale in scales if stated in (None, scale.unit)]
    if not fitting:
        raise _no_scale(field, times, stated, scales, bag)
    plausible = [scale for scale in fitting if STEP_S[0] <= _step_s(times, scale.unit) <= STEP_S[1]] or fitting
    return min(plausible, key=lambda scale: _unlike(times, scale.unit, bag.length_s))


def check_overlap(field: str, track: Track, bag: BagTimes) -> None:
    """Check that ground truth and recording have a common time.

    Args:
        field: source of the ground truth, for errors.
        track: ground truth; a fixed one has every time.
        bag: times of the recording.

    Raises:
        InputError: they have none.
    """
    first_ns, last_ns = int(track.stamps_ns[0]), int(track.stamps_ns[-1])
    if not track.fixed and bag.overlap_ns(first_ns, last_ns) < 0:
        raise InputError(field, f"times from {_text(first_ns)} to {_text(last_ns)}, outside of the recording"
                                f"{_suspicion(first_ns, last_ns, bag)}", _wanted(bag))


def _with_unit(unit: str, times: Sequence[float], bag: BagTimes) -> TimeScale | None:
    """Return the scale of a unit with the longer overlap; None without any. Of equal ones, times are of the clock."""
    best, longest_ns = None, 0.0
    # A time since 1970 in seconds is a second since the start in nanoseconds: only the steps tell them apart.
    since_start = unit == "s" if len(times) == 1 else _step_s(times, unit) >= STEP_S[0]
    for origin_ns in (0, bag.start_ns) if since_start else (0,):
        overlap_ns = bag.overlap_ns(*(origin_ns + time * NS_PER[unit] for time in (times[0], times[-1])))
        if overlap_ns > longest_ns or (best is None and overlap_ns >= 0):
            best, longest_ns = TimeScale(unit, origin_ns), overlap_ns
    return best


def _step_s(times: Sequence[float], unit: str) -> float:
    """Return the median time between two positions, in seconds; 0 for one position."""
    steps = [after - before for before, after in pairwise(times) if after > before]
    return median(steps) * NS_PER[unit] / NS if steps else 0.0


def _unlike(times: Sequence[float], unit: str, length_s: float) -> float:
    """Return how unlike the durations of file and recording are, as the logarithm of their ratio."""
    return abs(math.log(max((times[-1] - times[0]) * NS_PER[unit] / NS, 1e-9) / max(length_s, 1e-9)))


def _no_scale(field: str, times: Sequence[float], stated: str | None, scales: Sequence[TimeScale],
              bag: BagTimes) -> InputError:
    """Return the error for times that do not overlap with a recording, with a suspicion where there is one."""
    found = f"{times[0]:.10g} to {times[-1]:.10g}"
    if scales and stated is not None:
        return InputError(field, f"{found}, which look like {NAMES[scales[0].unit]}",
                          f"{NAMES[stated]}, as the name of the column states")
    unit = stated or _likely_unit(times[0])
    first_ns, last_ns = (time * NS_PER[unit] for time in (times[0], times[-1]))
    if stated is None and unit != "s":
        found += f", which look like {NAMES[unit]}"
    return InputError(field, f"{found}, that is {_text(first_ns)} to {_text(last_ns)}, outside of the recording"
                             f"{_suspicion(first_ns, last_ns, bag)}", _wanted(bag))


def _likely_unit(time: float) -> str:
    """Return the unit in which a time is one between 1973 and 5138, or seconds."""
    return next((unit for unit, ns in NS_PER.items() if SINCE_1970_S <= abs(time) * ns / NS < 1e3 * SINCE_1970_S), "s")


def _suspicion(first_ns: float, last_ns: float, bag: BagTimes) -> str:
    """Return the difference of clocks that would explain the times, with the option that corrects it; or ""."""
    recorder = [(bag.ahead_ns / NS, "they are of the clock of the recorder")] if bag.ahead_ns else []
    # Of several shifts, the one with the longest overlap: a shift by too little may touch the recording, too.
    overlap_ns, shift_s, name = max(((bag.overlap_ns(first_ns + shift_s * NS, last_ns + shift_s * NS), shift_s, name)
                                     for shift_s, name in (*recorder, *SHIFTS_S.items())), key=itemgetter(0))
    return f"; they fit with --offset-s {round(bag.offset_s + shift_s, 3):.12g} ({name}?)" if overlap_ns >= 0 else ""


def _wanted(bag: BagTimes) -> str:
    clocks = (f" (the recorder's clock is {abs(bag.ahead_ns) / NS:.1f} s {'behind' if bag.ahead_ns > 0 else 'ahead'})"
              if bag.ahead_ns else "")
    return (f"times between {_text(bag.start_ns)} and {_text(bag.end_ns)}, the stamps of the sensors{clocks}, or since "
            "the start of the recording; --offset-s shifts the ground truth")


def _text(stamp_ns: float) -> str:
    """Return a stamp as a date in UTC; as seconds if it is near 0 or beyond every calendar."""
    seconds = stamp_ns / NS
    if SINCE_1970_S <= seconds < 2e11:
        return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    return f"{seconds:.3f} s" if abs(seconds) < SINCE_1970_S else f"{seconds:.3g} s"
