# SPDX-License-Identifier: Apache-2.0
"""Corruptions of a stream of frames: dropout, freezing and delay. Ours; the paper corrupts frame by frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from admn_ros.errors import InputError
from admn_ros.sample import Array, Modality
from admn_ros.sensing.corruption.corruption import CorruptionLabel, check_severity

MEMORY_FRAMES = 10
"""Number of earlier frames that a temporal corruption may look back on."""


class InputHistory(NamedTuple):
    """One input in one frame of a recording, with the frames before it.

    Attributes:
        number: frame number in the recording, from 0.
        seed: seeds of the random numbers, equal for all frames of the recording.
        earlier: returns the reading `n` frames ago, at most `MEMORY_FRAMES`; None if it is missing.
    """

    number: int
    seed: tuple[int, ...]
    earlier: Callable[[int], Array | None]


@dataclass(frozen=True)
class TemporalCorruption(ABC):
    """A fault in the stream of one modality.

    A fault with severity 0 changes nothing, and no fault shows a later frame.
    """

    kind: ClassVar[str]
    modality: Modality

    def apply(self, data: Array, severity: float, history: InputHistory) -> Array | None:
        """Return the reading that the faulty sensor shows, or None if it is missing.

        Args:
            data: reading of this frame.
            severity: severity in [0, 1].
            history: place of the frame in its recording.

        Raises:
            InputError: the severity is outside [0, 1].
        """
        check_severity(severity)
        return self._show(data, severity, history) if severity > 0 else data

    @abstractmethod
    def parameters(self, severity: float) -> dict[str, float]:
        """Return the physical parameters at a severity above 0."""

    @abstractmethod
    def _show(self, data: Array, severity: float, history: InputHistory) -> Array | None:
        """Apply a severity above 0."""

    def label(self, severity: float) -> CorruptionLabel:
        """Return the label of a severity; 0 gives clean.

        Raises:
            InputError: the severity is outside [0, 1].
        """
        check_severity(severity)
        return CorruptionLabel(self.kind, severity, self.parameters(severity), -1) if severity else CorruptionLabel()


@dataclass(frozen=True)
class Dropout(TemporalCorruption):
    """Missing readings. The severity is the probability that a reading is lost."""

    kind: ClassVar[str] = "dropout"

    def parameters(self, severity: float) -> dict[str, float]:
        """Return the probability that a reading is lost."""
        return {"probability": severity}

    def lost(self, severity: float, rng: np.random.Generator) -> bool:
        """Draw whether a reading is lost."""
        return bool(rng.random() < severity)

    def _show(self, data: Array, severity: float, history: InputHistory) -> Array | None:
        return None if self.lost(severity, np.random.default_rng([*history.seed, history.number])) else data


@dataclass(frozen=True)
class Freezing(TemporalCorruption):
    """A sensor that repeats a reading under new stamps.

    A recording is divided into spells of equal length. The severity is the probability that a spell is frozen. A frozen
    spell repeats its first reading.

    Attributes:
        hold_frames: length of a spell in frames, 1 to `MEMORY_FRAMES` + 1.
    """

    kind: ClassVar[str] = "freezing"
    hold_frames: int = 10

    def __post_init__(self) -> None:
        _check_frames("hold_frames", self.hold_frames, MEMORY_FRAMES + 1)

    def parameters(self, severity: float) -> dict[str, float]:
        """Return the probability that a spell is frozen."""
        return {"probability": severity}

    def _show(self, data: Array, severity: float, history: InputHistory) -> Array | None:
        spell, age = divmod(history.number, self.hold_frames)
        if age == 0 or np.random.default_rng([*history.seed, spell]).random() >= severity:
            return data
        first = history.earlier(age)
        return data if first is None else first


@dataclass(frozen=True)
class Delay(TemporalCorruption):
    """Old readings under new stamps: an undeclared latency. The first readings of a recording are missing.

    Attributes:
        frames: delay at severity 1 in frames, 1 to `MEMORY_FRAMES`. Other severities round to at least one frame.
    """

    kind: ClassVar[str] = "delay"
    frames: int = 8

    def __post_init__(self) -> None:
        _check_frames("frames", self.frames, MEMORY_FRAMES)

    def parameters(self, severity: float) -> dict[str, float]:
        """Return the delay in frames."""
        return {"delay_frames": float(max(1, round(severity * self.frames)))}

    def _show(self, data: Array, severity: float, history: InputHistory) -> Array | None:
        return history.earlier(int(self.parameters(severity)["delay_frames"]))


def _check_frames(name: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise InputError(name, value, f"1 to {most}")
