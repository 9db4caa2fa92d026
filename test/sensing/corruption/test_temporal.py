# SPDX-License-Identifier: Apache-2.0
"""Dropout, freezing and delay of streams: never from the future, identity at 0, and only the right inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admn_ros.errors import InputError
from admn_ros.sample import MISSING, Availability, Modality, Reading, SensorFrame, SensorKey
from admn_ros.sensing.corruption.corruption import CorruptionLabel
from admn_ros.sensing.corruption.temporal import Delay, Dropout, Freezing, TemporalCorruption, corrupt_stream

RADAR = Modality.RADAR
KINDS = [Dropout(RADAR), Dropout(RADAR, 7), Freezing(RADAR), Freezing(RADAR, 1), Delay(RADAR), Delay(RADAR, 1)]
ONE, TWO, AUDIO = SensorKey("node1", RADAR), SensorKey("node2", RADAR), SensorKey("node1", Modality.AUDIO)


@pytest.mark.parametrize("kind", KINDS, ids=repr)
@given(frames=st.integers(0, 60), severity=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_schedules(kind: TemporalCorruption, frames: int, severity: float, seed: int) -> None:
    shown = kind.schedule(frames, severity, np.random.default_rng(seed))
    assert len(shown) == frames
    assert all(source is None or 0 <= source <= i for i, source in enumerate(shown))
    assert shown == kind.schedule(frames, severity, np.random.default_rng(seed))
    if severity == 0:
        assert shown == list(range(frames))
    # monotone: what is bad at a severity is bad at a larger one
    worse = kind.schedule(frames, (1 + severity) / 2, np.random.default_rng(seed))
    for i, (a, b) in enumerate(zip(shown, worse, strict=True)):
        assert (-1 if b is None else b) <= (-1 if a is None else a) <= i


def test_extremes() -> None:
    rng = np.random.default_rng(0)
    assert Dropout(RADAR).schedule(4, 1.0, rng) == [None] * 4
    assert Freezing(RADAR).schedule(4, 1.0, rng) == [0] * 4
    assert Delay(RADAR, 2).schedule(4, 1.0, rng) == [None, None, 0, 1]
    assert Delay(RADAR, 8).schedule(3, 0.01, rng) == [None, 0, 1]


def test_rates_and_bursts() -> None:
    rng = np.random.default_rng(0)
    lost = [s is None for s in Dropout(RADAR).schedule(4000, 0.3, rng)]
    assert np.mean(lost) == pytest.approx(0.3, abs=0.03)
    burst = [s is None for s in Dropout(RADAR, 20).schedule(4000, 0.3, rng)]
    assert np.mean(burst) == pytest.approx(0.3, abs=0.1)
    assert np.diff(burst).sum() < np.diff(lost).sum() / 5


def frames(count: int) -> list[SensorFrame]:
    """Two radars and a microphone; data and stamps tell the frame; radar 2 is missing in frame 3."""
    def reading(i: int, k: int) -> Reading:
        return Reading(Availability.FRESH, np.full((2, 2), 10 * i + k, np.float32), 1000 * i + k)
    return [SensorFrame(1000 * i, AUDIO, {
        ONE: reading(i, 1), TWO: MISSING if i == 3 else reading(i, 2), AUDIO: reading(i, 3)}) for i in range(count)]


def value(frame: SensorFrame, key: SensorKey) -> float | None:
    data = frame.readings[key].data
    return None if data is None else float(data[0, 0])


def test_late_stream_keeps_its_stamps_and_the_others_are_left_alone() -> None:
    clean = frames(6)
    late = corrupt_stream(clean, Delay(RADAR, 2), 1.0, np.random.default_rng(0))
    assert [value(f, ONE) for f in late] == [None, None, 1, 11, 21, 31]
    assert [value(f, TWO) for f in late] == [None, None, 2, None, 22, None]
    assert [value(f, AUDIO) for f in late] == [3, 13, 23, 33, 43, 53]
    assert [f.readings[ONE].stamp_ns for f in late] == [None, None, 2001, 3001, 4001, 5001]
    assert [value(f, ONE) for f in clean] == [1, 11, 21, 31, 41, 51]


def test_dropout_and_freezing_of_a_stream() -> None:
    clean = frames(40)
    dropped = corrupt_stream(clean, Dropout(RADAR), 0.5, np.random.default_rng(1))
    masks = [[f.readings[k].availability is Availability.MISSING for f in dropped] for k in (ONE, TWO)]
    assert 8 < sum(masks[0]) < 32
    assert masks[0] != masks[1]  # each sensor node on its own
    frozen = corrupt_stream(clean, Freezing(RADAR, 5), 1.0, np.random.default_rng(1))
    assert {value(f, ONE) for f in frozen} == {1}
    assert [f.readings[ONE].stamp_ns for f in frozen] == [1000 * i + 1 for i in range(40)]


def test_labels_and_errors() -> None:
    assert Dropout(RADAR).label(0.0) == CorruptionLabel()
    assert Dropout(RADAR).label(0.5) == CorruptionLabel("dropout", 0.5, {"probability": 0.5}, -1)
    assert Delay(RADAR, 8).label(0.5).parameters == {"delay_frames": 4.0}
    with pytest.raises(InputError, match="severity"):
        Delay(RADAR).schedule(3, 2.0, np.random.default_rng(0))
    with pytest.raises(InputError, match="frames"):
        Freezing(RADAR, 0).schedule(3, 1.0, np.random.default_rng(0))
