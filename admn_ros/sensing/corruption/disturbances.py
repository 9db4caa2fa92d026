# SPDX-License-Identifier: Apache-2.0
"""Disturbances that are in no training mixture, one for each modality: a test of what a model has never seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from admn_ros.sample import Array, Modality
from admn_ros.sensing.corruption.audio import BackgroundNoise
from admn_ros.sensing.corruption.corruption import NEAREST_M, Corruption, Floats, to_uint8


@dataclass(frozen=True)
class Glare(Corruption):
    """A lamp that shines into the camera: a bright disc with a wide veil, at a random place of the image.

    Attributes:
        radius: standard deviation of the veil at severity 1, as a share of the image width.
    """

    kind: ClassVar[str] = "glare"
    modality: Modality = Modality.RGB
    radius: float = 0.6

    def parameters(self, severity: float) -> dict[str, float]:
        """Return the radius of the veil as a share of the image width."""
        return {"radius": severity * self.radius}

    def _damage(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        height, width = data.shape[:2]
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        y, x = rng.uniform(0.2, 0.8, 2) * (height, width)
        away = ((rows - y) ** 2 + (columns - x) ** 2) / (severity * self.radius * width) ** 2
        veil = np.minimum(1.5 * np.exp(-away / 2), 1).astype(np.float32)[..., None]
        return to_uint8(veil + (1 - veil) * data.astype(np.float32) / np.float32(255))


@dataclass(frozen=True)
class DepthRipple(Corruption):
    """Interference of two depth cameras: ranges that swing in waves across the image.

    Attributes:
        swing_m: amplitude at severity 1 in metres.
    """

    kind: ClassVar[str] = "ripple"
    modality: Modality = Modality.DEPTH
    swing_m: float = 1.5

    def parameters(self, severity: float) -> dict[str, float]:
        """Return the amplitude in metres."""
        return {"swing_m": severity * self.swing_m}

    def _damage(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        height, width = data.shape
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        waves, angle, phase = rng.uniform(3, 12), rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        along = rows / height * np.sin(angle) + columns / width * np.cos(angle)
        swing = severity * self.swing_m * np.sin(2 * np.pi * waves * along + phase)
        return np.asarray(np.maximum(data + swing, NEAREST_M), dtype=np.float32)  # NaN stays NaN


@dataclass(frozen=True)
class RadarGhost(Corruption):
    """A strong reflector: every echo comes a second time, from another direction and a longer range.

    Attributes:
        gain: amplitude of the second echo relative to the first at severity 1.
    """

    kind: ClassVar[str] = "ghost"
    modality: Modality = Modality.RADAR
    gain: float = 3.0

    def parameters(self, severity: float) -> dict[str, float]:
        """Return the amplitude of the second echo relative to the first."""
        return {"gain": severity * self.gain}

    def _damage(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        values: Floats = data.astype(np.float32, copy=False)
        later = int(rng.integers(1, max(2, values.shape[0] // 4)))
        beside = int(rng.integers(1, max(2, values.shape[1])))
        ghost = np.roll(values, (later, beside), axis=(0, 1))
        return np.asarray(values + np.float32(severity * self.gain) * ghost, dtype=np.float32)


@dataclass(frozen=True)
class Knocks(BackgroundNoise):
    """Hammering near the microphones: a few short bursts in each second, common to all microphones.

    Attributes:
        rate_hz: mean number of knocks in a second; a reading has at least one.
        decay_s: time in which a knock falls to 1/e, in seconds.
    """

    worst_db: float = -20.0
    kind: ClassVar[str] = "knocks"
    rate_hz: float = 8.0
    decay_s: float = 0.02

    def noise(self, samples: int, channels: int, rng: np.random.Generator) -> Floats:
        """Return decaying bursts of white noise."""
        count = 1 + int(rng.poisson(self.rate_hz * samples / self.sample_rate_hz))
        times = np.arange(samples)[:, None] - rng.integers(0, samples, count)
        envelope = np.where(times >= 0, np.exp(-np.maximum(times, 0) / (self.decay_s * self.sample_rate_hz)), 0)
        burst = envelope.sum(axis=1) * rng.standard_normal(samples)
        return np.repeat(burst[:, None], channels, axis=1).astype(np.float32)
