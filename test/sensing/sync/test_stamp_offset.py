# SPDX-License-Identifier: Apache-2.0
"""Offsets between clocks, and what they suggest."""

from __future__ import annotations

import pytest

from admn_ros.sensing.sync.stamp_offset import describe_offset, suspected_cause

NOW = 1_700_000_000
HOUR, DAY = 3600, 86_400
GPS_EPOCH = 315_964_800  # 6 January 1980


@pytest.mark.parametrize(("stamp_s", "reference_s", "cause"), [
    (NOW + 37.02, NOW, "TAI against UTC?"), (NOW - 36.9, NOW, "TAI against UTC?"),
    (NOW + 18, NOW, "GPS time against UTC?"),
    (NOW + 19, NOW, "TAI against GPS time?"), (NOW + 25, NOW, ""), (NOW + 36, NOW, ""), (NOW + 0.2, NOW, ""),
    (NOW + HOUR, NOW, "1 h: local time against UTC?"), (NOW - 8 * HOUR + 2, NOW, "8 h: local time against UTC?"),
    (NOW + 5.5 * HOUR, NOW, "5.5 h: local time against UTC?"), (NOW + 1.2 * HOUR, NOW, ""), (NOW + 15 * HOUR, NOW, ""),
    (4321.5, NOW, "time since the start of a machine against a date?"),
    (NOW, 4321.5, "time since the start of a machine against a date?"),
    (NOW - GPS_EPOCH + 18, NOW, "seconds since 1980, the epoch of GPS, against seconds since 1970?"),
    (4321.5, 4302.5, "TAI against GPS time?"), (5000.0, 4000.0, ""),
    (NOW - 100 * DAY, NOW, "a recording, or a clock that was never set?")])
def test_known_offsets_are_recognized(stamp_s: float, reference_s: float, cause: str) -> None:
    assert suspected_cause(round(stamp_s * 1e9), round(reference_s * 1e9)) == cause


def test_descriptions_have_amount_direction_and_cause() -> None:
    at = NOW * 10**9
    assert describe_offset(at + 37 * 10**9, at, "node1/rgb") == "37.0 s ahead of node1/rgb (TAI against UTC?)"
    assert describe_offset(at - 300_000_000, at, "node1/rgb") == "0.3 s behind node1/rgb"
    assert describe_offset(at - 90 * DAY * 10**9, at, "the clock") == (
        "90 days behind the clock (a recording, or a clock that was never set?)")
