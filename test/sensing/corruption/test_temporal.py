# SPDX-License-Identifier: Apache-2.0
"""Dropout, freezing and delay of streams: never from the future, unchanged at 0, and only the right inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admn_ros.errors import InputError
from admn_ros.sample import MISSING, Array, Availability, Modality, Reading, SensorFrame, SensorKey
from admn_ros.sensing.corruption.corruption import CorruptionLabel
from admn_ros.sensing.corruption.draws import CorruptionPreset, Draw, StretchCorruption
from admn_ros.sensing.corruption.presets import corruption_preset
from admn_ros.sensing.corruption.temporal import (
    MEMORY_FRAMES,
    Delay,
    Dropout,
    Freezing,
    InputHistory,
    TemporalCorruption,
)

RGB, RADAR = Modality.RGB, Modality.RADAR
KINDS = [Dropout(RADAR), Freezing(RADAR), Freezing(RADAR, 1), Delay(RADAR), Delay(RADAR, 1)]
ONE, TWO, AUDIO = SensorKey("node1", RADAR), SensorKey("node2", RADAR), SensorKey("node1", Modality.AUDIO)


def number(of: int) -> Array:
    return np.full((2, 2), of, np.float32)


def shown(kind: TemporalCorruption, frames: int, severity: float, seed: int) -> list[int | None]:
    """Number of the frame whose reading is shown in each frame; None if it is missing."""
    def one(i: int) -> int | None:
        def earlier(back: int) -> Array | None:
            assert 0 < back <= MEMORY_FRAMES
            return number(i - back) if back <= i else None

        data = kind.apply(number(i), severity, InputHistory(i, (seed, 7), earlier))
        return None if data is None else int(data[0, 0])

    return [one(i) for i in range(frames)]


@pytest.mark.parametrize("kind", KINDS, ids=repr)
@given(frames=st.integers(0, 60), severity=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_never_the_future(kind: TemporalCorruption, frames: int, severity: float, seed: int) -> None:
    found = shown(kind, frames, severity, seed)
    assert found == shown(kind, frames, severity, seed)
    if severity == 0:
        assert found == list(range(frames))
    # A larger severity does at least the same damage.
    worse = shown(kind, frames, (1 + severity) / 2, seed)
    for i, (a, b) in enumerate(zip(found, worse, strict=True)):
        assert (-1 if b is None else b) <= (-1 if a is None else a) <= i


def test_extremes() -> None:
    assert shown(Dropout(RADAR), 4, 1.0, 0) == [None] * 4
    assert shown(Freezing(RADAR, 3), 7, 1.0, 0) == [0, 0, 0, 3, 3, 3, 6]
    assert shown(Delay(RADAR, 2), 4, 1.0, 0) == [None, None, 0, 1]
    assert shown(Delay(RADAR, 8), 3, 0.01, 0) == [None, 0, 1]


def test_the_severity_is_the_rate() -> None:
    assert np.mean([s is None for s in shown(Dropout(RADAR), 4000, 0.3, 1)]) == pytest.approx(0.3, abs=0.03)
    frozen = [s != i for i, s in enumerate(shown(Freezing(RADAR, 10), 4000, 0.3, 1))]
    assert np.mean(frozen) == pytest.approx(0.9 * 0.3, abs=0.06)
    assert np.diff(frozen).sum() < 4000 / 10  # in spells


def preset_of(kind: TemporalCorruption) -> CorruptionPreset:
    return CorruptionPreset("test", "paper", (RADAR,), lambda rng, scene: {RADAR: Draw(kind, 1.0, -1)}, temporal=True)


def frames(count: int) -> list[SensorFrame]:
    """Two radars and a microphone; data and stamps tell the frame; radar 2 is missing in frame 3."""
    def reading(i: int, k: int) -> Reading:
        return Reading(Availability.FRESH, number(10 * i + k), 1000 * i + k)
    return [SensorFrame(1000 * i, AUDIO, {
        ONE: reading(i, 1), TWO: MISSING if i == 3 else reading(i, 2), AUDIO: reading(i, 3)}) for i in range(count)]


def value(frame: SensorFrame, key: SensorKey) -> float | None:
    data = frame.readings[key].data
    return None if data is None else float(data[0, 0])


def test_late_stream_keeps_its_stamps_and_the_others_are_left_alone() -> None:
    clean = frames(6)
    corrupt = StretchCorruption(preset_of(Delay(RADAR, 2)), seed=0, hold_s=1.0)
    late, labels = zip(*map(corrupt, clean), strict=True)
    assert [value(f, ONE) for f in late] == [None, None, 1, 11, 21, 31]
    assert [value(f, TWO) for f in late] == [None, None, 2, None, 22, None]
    assert [value(f, AUDIO) for f in late] == [3, 13, 23, 33, 43, 53]
    assert [f.readings[ONE].stamp_ns for f in late] == [None, None, 2001, 3001, 4001, 5001]
    assert [value(f, ONE) for f in clean] == [1, 11, 21, 31, 41, 51]
    assert {label[RADAR].kind for label in labels} == {"delay"}


def test_a_frozen_stream_and_frames_that_are_left_out() -> None:
    whole, some = (StretchCorruption(preset_of(Freezing(RADAR, 5)), seed=1, hold_s=1.0) for _ in range(2))
    every = [whole(f)[0] for f in frames(12)]
    assert [value(f, ONE) for f in every] == [1] * 5 + [51] * 5 + [101] * 2
    assert [f.readings[ONE].stamp_ns for f in every] == [1000 * i + 1 for i in range(12)]
    for i, frame in enumerate(frames(12)):
        if i % 3:
            some.skip(frame)
        else:
            assert value(some(frame)[0], ONE) == value(every[i], ONE)


@pytest.mark.parametrize(("name", "kind"), [("room-freeze", "freezing"), ("room-delay", "delay")])
def test_presets_of_one_faulty_stream(name: str, kind: str) -> None:
    preset = corruption_preset(name, modalities=(RGB, RADAR))
    drawn = [{m: d.label for m, d in preset.draw(np.random.default_rng(seed)).items()} for seed in range(400)]
    assert all(sorted(label.kind for label in labels.values()) == ["clean", kind] for labels in drawn)
    assert 120 < sum(labels[RGB].kind == kind for labels in drawn) < 280
    severities = [max(label.severity for label in labels.values()) for labels in drawn]
    assert 0 < min(severities) < 0.1
    assert 0.9 < max(severities) <= 1
    with pytest.raises(InputError, match=rf"node1/radar\.corruption: found {kind} of a single sample"):
        for seed in range(20):
            preset({ONE: number(1)}, np.random.default_rng(seed))


def test_labels_and_errors() -> None:
    assert Dropout(RADAR).label(0.0) == CorruptionLabel()
    assert Dropout(RADAR).label(0.5) == CorruptionLabel("dropout", 0.5, {"probability": 0.5}, -1)
    assert Delay(RADAR, 8).label(0.5).parameters == {"delay_frames": 4.0}
    with pytest.raises(InputError, match="severity"):
        Delay(RADAR).apply(number(0), 2.0, InputHistory(0, (), lambda _: None))
    for frames_ in (0, MEMORY_FRAMES + 2):
        with pytest.raises(InputError, match="frames"):
            Freezing(RADAR, frames_)
        with pytest.raises(InputError, match="frames"):
            Delay(RADAR, frames_)
