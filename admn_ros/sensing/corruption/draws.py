# SPDX-License-Identifier: Apache-2.0
"""Random draws of corruptions: for single samples, and for stretches of a recording."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from admn_ros.errors import InputError
from admn_ros.sample import MISSING, Array, Modality, SensorFrame, SensorKey
from admn_ros.sensing.corruption.corruption import Corruption, CorruptionLabel, label_of
from admn_ros.sensing.corruption.temporal import MEMORY_FRAMES, Dropout, InputHistory, TemporalCorruption

Environment = Literal["indoor", "outdoor"]
"""Environment of a sample; it determines the realistic corruptions."""
Variant = Literal["paper", "code", "code_controller"]


@dataclass(frozen=True)
class Draw:
    """The corruption drawn for one modality.

    Attributes:
        corruption: the corruption; None for clean.
        severity: severity in [0, 1].
        level: level of the preset, as in `CorruptionLabel`.
    """

    corruption: Corruption | TemporalCorruption | None = None
    severity: float = 0.0
    level: int = 0

    @property
    def label(self) -> CorruptionLabel:
        """Label for training."""
        if self.corruption is None:
            return CorruptionLabel()
        if isinstance(self.corruption, TemporalCorruption):
            return self.corruption.label(self.severity)
        return label_of(self.corruption, self.severity, self.level)


Draws = Mapping[Modality, Draw]


class Corrupted(NamedTuple):
    """Readings after a corruption, without those that are missing, and the label of each modality."""

    readings: dict[SensorKey, Array]
    labels: dict[Modality, CorruptionLabel]

    @property
    def severities(self) -> dict[Modality, float]:
        """Severity of each modality, for `Target.corruption`."""
        return {m: label.severity for m, label in self.labels.items()}


@dataclass(frozen=True)
class CorruptionPreset:
    """A named mixture of corruptions.

    Attributes:
        name: name of the preset.
        variant: the paper's values, or those of the official code for its first stage or for controllers.
        modalities: modalities with a draw; the others are left alone and get no label.
        rule: draws for one sample of a scene.
        temporal: whether the preset needs consecutive frames (freezing, delay).
    """

    name: str
    variant: Variant
    modalities: tuple[Modality, ...]
    rule: Callable[[np.random.Generator, Environment], Draws]
    temporal: bool = False

    def draw(self, rng: np.random.Generator, scene: Environment = "indoor") -> Draws:
        """Draw a corruption for each modality; only ave-rain-noise depends on `scene`."""
        return self.rule(rng, scene)

    def __call__(self, readings: Mapping[SensorKey, Array], rng: np.random.Generator,
                 scene: Environment = "indoor") -> Corrupted:
        """Draw corruptions for one sample and apply them to its readings.

        Raises:
            InputError: a reading is not of its modality (the field begins with the input), or the preset is temporal.
        """
        draws = self.draw(rng, scene)
        return Corrupted(apply_draws(readings, draws, rng), {m: d.label for m, d in draws.items()})


@dataclass(frozen=True)
class StreamPosition:
    """Place of a frame in its recording.

    Attributes:
        number: frame number, from 0.
        seed: seeds of the random numbers that all frames of the recording share.
        earlier: returns the readings `n` frames ago, at most `MEMORY_FRAMES`; None before the recording begins.
    """

    number: int
    seed: tuple[int, ...]
    earlier: Callable[[int], Mapping[SensorKey, Array] | None]

    def of(self, key: SensorKey) -> InputHistory:
        """Return the history of one input."""
        return InputHistory(self.number, (*self.seed, _number_of(key)), lambda n: (self.earlier(n) or {}).get(key))


def apply_draws(readings: Mapping[SensorKey, Array], draws: Draws, rng: np.random.Generator,
                position: StreamPosition | None = None) -> dict[SensorKey, Array]:
    """Corrupt the readings of one frame as drawn, and leave out those that are missing.

    The noise of an input does not depend on which other inputs there are.

    Args:
        readings: readings by input.
        draws: corruption of each modality.
        rng: source of the noise.
        position: place of the frame in its recording; freezing and delay require it.

    Raises:
        InputError: a reading is not of its modality (the field begins with the input), or freezing or delay has no
            position.
    """
    base = int(rng.integers(2**63))
    result: dict[SensorKey, Array] = {}
    for key, data in readings.items():
        draw = draws.get(key.modality, Draw())
        try:
            shown = _apply(draw, data, np.random.default_rng([base, _number_of(key)]),
                           None if position is None else position.of(key))
        except InputError as error:
            raise error.within(str(key)) from error
        if shown is not None:
            result[key] = shown
    return result


def _apply(draw: Draw, data: Array, rng: np.random.Generator, history: InputHistory | None) -> Array | None:
    corruption = draw.corruption
    if corruption is None:
        return data
    if isinstance(corruption, Corruption):
        return corruption.apply(data, draw.severity, rng)
    if isinstance(corruption, Dropout):
        return None if corruption.lost(draw.severity, rng) else data
    if history is None:
        raise InputError("corruption", f"{corruption.kind} of a single sample", "consecutive frames of a recording")
    return corruption.apply(data, draw.severity, history)


def _number_of(key: SensorKey) -> int:
    return zlib.crc32(str(key).encode())


class StretchCorruption:
    """Corrupts the frames of one recording. A draw holds for a stretch of time, as bad light and broken sensors do.

    The draw of a stretch depends on the seed and the number of the stretch, the noise of a frame on the seed and its
    stamp. Frames that are left out do not change the others.

    Args:
        preset: what is drawn; None leaves all frames as they are.
        seed: seed, not negative.
        hold_s: length of a stretch in seconds.
    """

    def __init__(self, preset: CorruptionPreset | None, seed: int, hold_s: float) -> None:
        self._preset, self._seed, self._hold_ns = preset, seed, round(hold_s * 1e9)
        self._first_ns: int | None = None
        self._drawn: tuple[int, Draws] = (-1, {})
        self._number = -1
        self._history: deque[dict[SensorKey, Array]] = deque(maxlen=MEMORY_FRAMES + 1)

    def skip(self, frame: SensorFrame) -> None:
        """Take note of a frame that is not evaluated; later frames may repeat its readings."""
        self._number += 1
        if self._preset is not None and self._preset.temporal:
            self._history.append({key: r.data for key, r in frame.readings.items() if r.data is not None})

    def __call__(self, frame: SensorFrame) -> tuple[SensorFrame, Mapping[Modality, CorruptionLabel]]:
        """Return the corrupted frame and the label of each modality.

        Raises:
            InputError: a reading is not of its modality.
        """
        self.skip(frame)
        if self._preset is None:
            return frame, {}
        if self._first_ns is None:
            self._first_ns = frame.stamp_ns
        since_ns = max(0, frame.stamp_ns - self._first_ns)
        draws = self._draws(self._preset, since_ns // self._hold_ns)
        there = {key: r.data for key, r in frame.readings.items() if r.data is not None}
        data = apply_draws(there, draws, np.random.default_rng([self._seed, 1, since_ns]),
                           StreamPosition(self._number, (self._seed, 2), self._earlier))
        readings = {key: replace(r, data=data[key]) if key in data else MISSING for key, r in frame.readings.items()}
        return replace(frame, readings=readings), {m: draw.label for m, draw in draws.items()}

    def _earlier(self, frames: int) -> Mapping[SensorKey, Array] | None:
        return self._history[-1 - frames] if frames < len(self._history) else None

    def _draws(self, preset: CorruptionPreset, stretch: int) -> Draws:
        if self._drawn[0] != stretch:
            self._drawn = stretch, preset.draw(np.random.default_rng([self._seed, 0, stretch]))
        return self._drawn[1]
