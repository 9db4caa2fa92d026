# SPDX-License-Identifier: Apache-2.0
"""Corruptions of a stream of frames: dropout, freezing, delay. Ours; the paper corrupts frame by frame.

A schedule says for each frame which frame's data its input shows: the same one (clean), an earlier one
(frozen, late), or none (missing). It never looks ahead, and with severity 0 all frames show themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from admn_ros.errors import InputError
from admn_ros.sample import MISSING, Availability, Modality, Reading, SensorFrame
from admn_ros.sensing.corruption.corruption import CorruptionLabel, check_severity

Schedule = list[int | None]


@dataclass(frozen=True)
class TemporalCorruption(ABC):
    """One way in which the stream of a modality goes bad."""

    kind: ClassVar[str]
    modality: Modality

    def schedule(self, frames: int, severity: float, rng: np.random.Generator) -> Schedule:
        """For each of the frames, the index of the frame whose data it shows, or None for missing.

        Raises:
            InputError: a severity outside [0, 1].
        """
        check_severity(severity)
        return self._schedule(frames, severity, rng) if severity > 0 else list(range(frames))

    @abstractmethod
    def parameters(self, severity: float) -> dict[str, float]:
        """The physical parameters at a severity above 0."""

    @abstractmethod
    def _schedule(self, frames: int, severity: float, rng: np.random.Generator) -> Schedule:
        """`schedule` for a severity above 0."""

    def label(self, severity: float) -> CorruptionLabel:
        """Label of the whole stream; severity 0 gives clean."""
        check_severity(severity)
        return CorruptionLabel(self.kind, severity, self.parameters(severity), -1) if severity else CorruptionLabel()


@dataclass(frozen=True)
class Dropout(TemporalCorruption):
    """The modality is missing. Severity is the probability of each burst of `burst_frames` frames."""

    kind: ClassVar[str] = "dropout"
    burst_frames: int = 1

    def parameters(self, severity: float) -> dict[str, float]:
        """Probability that a frame is lost."""
        return {"probability": severity}

    def _schedule(self, frames: int, severity: float, rng: np.random.Generator) -> Schedule:
        lost = _hit(frames, self.burst_frames, severity, rng)
        return [None if lost[i] else i for i in range(frames)]


@dataclass(frozen=True)
class Freezing(TemporalCorruption):
    """The sensor repeats its last good frame, with new stamps. Severity is the probability of each spell.

    hold_frames: length of a spell. The first frame is always good.
    """

    kind: ClassVar[str] = "freezing"
    hold_frames: int = 10

    def parameters(self, severity: float) -> dict[str, float]:
        """Probability that a frame is a repeated one."""
        return {"probability": severity}

    def _schedule(self, frames: int, severity: float, rng: np.random.Generator) -> Schedule:
        frozen = _hit(frames, self.hold_frames, severity, rng)
        shown: Schedule = []
        last = 0
        for i in range(frames):
            last = last if frozen[i] else i
            shown.append(last)
        return shown


@dataclass(frozen=True)
class Delay(TemporalCorruption):
    """The data are old but stamped as new: a latency that nobody declared. Nothing comes at first.

    frames: delay at severity 1; it is rounded to whole frames, at least one.
    """

    kind: ClassVar[str] = "delay"
    frames: int = 8

    def parameters(self, severity: float) -> dict[str, float]:
        """Delay in frames."""
        return {"delay_frames": float(max(1, round(severity * self.frames)))}

    def _schedule(self, frames: int, severity: float, rng: np.random.Generator) -> Schedule:
        delay = int(self.parameters(severity)["delay_frames"])
        return [i - delay if i >= delay else None for i in range(frames)]


def corrupt_stream(frames: Sequence[SensorFrame], corruption: TemporalCorruption, severity: float,
                   rng: np.random.Generator) -> list[SensorFrame]:
    """Apply a temporal corruption to all sensor nodes that have its modality; schedules are drawn per node.

    Stamps are those of the frame itself: a frozen or late sensor does not admit it.

    Raises:
        InputError: a severity outside [0, 1].
    """
    result = list(frames)
    keys = sorted({k for f in frames for k in f.readings if k.modality is corruption.modality})
    for key in keys:
        readings = [f.readings.get(key, MISSING) for f in frames]
        for i, source in enumerate(corruption.schedule(len(frames), severity, rng)):
            if key in frames[i].readings:
                shown = readings[i] if source == i else _shown(readings, i, source)
                result[i] = replace(result[i], readings={**result[i].readings, key: shown})
    return result


def _shown(readings: Sequence[Reading], frame: int, source: int | None) -> Reading:
    now = readings[frame]
    if source is None or now.availability is Availability.MISSING or readings[source].data is None:
        return MISSING
    return Reading(now.availability, readings[source].data, now.stamp_ns)


def _hit(frames: int, block: int, severity: float, rng: np.random.Generator) -> list[bool]:
    """Which frames lie in a block that was hit; blocks of `block` frames, each with probability `severity`."""
    if block < 1:
        raise InputError("frames", block, "at least 1")
    hit = rng.random(-(-frames // block)) < severity
    return [bool(hit[i // block]) for i in range(frames)]
