# SPDX-License-Identifier: Apache-2.0
"""Instants of a recording, as people name them: a time of day, seconds since the start, or a stamp."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from admn_ros.errors import InputError
from admn_ros.replay.ground_truth import NS
from admn_ros.replay.track_times import SINCE_1970_S

FAR_S = 2.0
"""Distance of an instant from the nearest frame from which on there is no frame at that instant, in seconds."""
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?")


def nearest_frame(stamps_ns: Sequence[int], at: str) -> int:
    """Return the index of the frame nearest to an instant.

    Args:
        stamps_ns: ascending stamps of the frames, nanoseconds; at least one.
        at: local time of day (`10:32`, `10:32:05.5`), seconds since the first frame (`12.5`), or a stamp in seconds
            since 1970.

    Raises:
        InputError: that is no instant, or no frame is near.
    """
    wanted_ns = _stamp_ns(stamps_ns[0], at)
    best = min(range(len(stamps_ns)), key=lambda k: abs(stamps_ns[k] - wanted_ns))
    if abs(stamps_ns[best] - wanted_ns) > FAR_S * NS:
        first, last = (time_text(stamp_ns, stamps_ns[0]) for stamp_ns in (stamps_ns[0], stamps_ns[-1]))
        raise InputError("--at", at, f"a time with a frame: {first} to {last}, "
                                     f"0 to {(stamps_ns[-1] - stamps_ns[0]) / NS:.1f} s since the first frame")
    return best


def time_text(stamp_ns: int, start_ns: int) -> str:
    """Return the local time of day of a stamp; seconds since the first frame if stamps do not count since 1970.

    Args:
        stamp_ns: stamp in nanoseconds.
        start_ns: stamp of the first frame.
    """
    if stamp_ns < SINCE_1970_S * NS:
        return f"{(stamp_ns - start_ns) / NS:.3f} s"
    return f"{datetime.fromtimestamp(stamp_ns / NS):%H:%M:%S.%f}"[:-3]


def _stamp_ns(start_ns: int, at: str) -> int:
    clock = _CLOCK.fullmatch(at.strip())
    try:
        if clock is None:
            seconds = float(at)
            return round(seconds * NS) if abs(seconds) >= SINCE_1970_S else start_ns + round(seconds * NS)
        start = datetime.fromtimestamp(start_ns / NS)
        wanted = start.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
        wanted += timedelta(seconds=float(clock[3] or 0))
        if wanted < start - timedelta(hours=12):  # after midnight
            wanted += timedelta(days=1)
        return round(wanted.timestamp() * NS)
    except (ValueError, OverflowError) as error:
        raise InputError("--at", at, "a time of day (10:32:05), seconds since the first frame, or a stamp") from error
