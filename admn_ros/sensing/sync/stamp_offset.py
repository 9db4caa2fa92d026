# SPDX-License-Identifier: Apache-2.0
"""Offset between two clocks that write stamps: its description, and what it is likely to come from."""

from __future__ import annotations

_NS = 1_000_000_000
_DAY_S = 86_400.0
_TAI_S, _GPS_S = 37.0, 18.0
"""TAI and GPS time ahead of UTC, in seconds, since the leap second of January 2017."""
_GPS_EPOCH_S = 315_964_800
"""Begin of GPS time, 6 January 1980, in seconds since 1970."""
_OLD_S = 10 * 365 * _DAY_S
"""Stamps before this time, in seconds since 1970, cannot be dates of a recording."""
_HALF_HOUR_S, _LARGEST_ZONE_S, _NEAR_ZONE_S = 1800.0, 14 * 3600.0, 5.0
_NEAR_S = 0.5


def describe_offset(stamp_ns: int, reference_ns: int, reference: str) -> str:
    """Describe how far a stamp is from that of a reference at the same time, such as "37.0 s ahead of node1/rgb".

    Args:
        stamp_ns: stamp in nanoseconds.
        reference_ns: stamp of the reference in nanoseconds.
        reference: name of the reference.
    """
    offset_s = (stamp_ns - reference_ns) / _NS
    seconds = abs(offset_s)
    amount = f"{seconds:.1f} s" if seconds < _DAY_S else f"{seconds / _DAY_S:.0f} days"
    cause = suspected_cause(stamp_ns, reference_ns)
    return f"{amount} {'ahead of' if offset_s > 0 else 'behind'} {reference}" + (f" ({cause})" if cause else "")


def suspected_cause(stamp_ns: int, reference_ns: int) -> str:
    """Return what a known offset between two clocks suggests, as a question; empty if nothing is known.

    Args:
        stamp_ns: stamp in nanoseconds.
        reference_ns: stamp of the reference at the same time, in nanoseconds.
    """
    offset_s = abs(stamp_ns - reference_ns) / _NS
    early_s, late_s = sorted((stamp_ns / _NS, reference_ns / _NS))
    for seconds, cause in ((_TAI_S, "TAI against UTC?"), (_GPS_S, "GPS time against UTC?"),
                           (_TAI_S - _GPS_S, "TAI against GPS time?")):
        if abs(offset_s - seconds) <= _NEAR_S:
            return cause
    if abs(offset_s - _GPS_EPOCH_S) <= _TAI_S + _NEAR_S:
        return "seconds since 1980, the epoch of GPS, against seconds since 1970?"
    steps = round(offset_s / _HALF_HOUR_S)
    if steps and offset_s <= _LARGEST_ZONE_S + _NEAR_ZONE_S and abs(offset_s - steps * _HALF_HOUR_S) <= _NEAR_ZONE_S:
        return f"{steps / 2:g} h: local time against UTC?"
    if early_s < _OLD_S <= late_s:
        return "time since the start of a machine against a date?"
    return "" if offset_s < _DAY_S else "a recording, or a clock that was never set?"
