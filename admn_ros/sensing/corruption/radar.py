# SPDX-License-Identifier: Apache-2.0
"""Corruptions of radar heatmaps: interference of another radar, and a raised noise floor.

Both work on linear magnitudes of any unit, relative to the noise floor of the frame: the median of its positive cells,
or 1 without any. The disturbance is complex with a random phase, as in the antenna.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from admn_ros.sample import Array, Modality
from admn_ros.sensing.corruption.corruption import Corruption, Floats, decibels


@dataclass(frozen=True)
class RadarNoise(Corruption):
    """Receiver noise over the whole heatmap (a weak supply, a dirty radome, heat).

    Attributes:
        floor_db: amplitude of the added noise over the noise floor of the frame at severity 1, in dB.
    """

    kind: ClassVar[str] = "radar_noise"
    modality: Modality = Modality.RADAR
    floor_db: float = 50.0

    def parameters(self, severity: float) -> dict[str, float]:
        """Return the amplitude of the added noise over the noise floor, in dB (decibels of 1 + the ratio)."""
        return {"noise_db": severity * self.floor_db}

    def _damage(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        values: Floats = data.astype(np.float32, copy=False)
        amplitude = np.float32(_floor(values) * (decibels(self.parameters(severity)["noise_db"]) - 1))
        return _added(values, amplitude * _speckle(values.shape, rng), rng)


@dataclass(frozen=True)
class RadarInterference(Corruption):
    """Interfering chirps of another FMCW radar: after the FFTs, bright stripes on a raised floor.

    In a range-azimuth map the energy is in the direction of the other radar, over all ranges; in a range-Doppler map it
    is at some velocities, over all ranges. Stripes have soft edges and speckle.

    Attributes:
        stripe_db: amplitude of the stripes over the noise floor of the frame at severity 1, in dB.
        floor_db: amplitude of the raised floor at severity 1, in dB.
        stripes: maximum number of stripes; 1 to this number are drawn per frame.
        axis: "columns" for maps whose rows are ranges, as in this package, or "rows".
    """

    kind: ClassVar[str] = "interference"
    modality: Modality = Modality.RADAR
    stripe_db: float = 60.0
    floor_db: float = 20.0
    stripes: int = 3
    axis: Literal["columns", "rows"] = "columns"

    def parameters(self, severity: float) -> dict[str, float]:
        """Return stripes and raised floor over the noise floor, in dB (decibels of 1 + the ratio)."""
        return {"stripe_db": severity * self.stripe_db, "floor_db": severity * self.floor_db}

    def _damage(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        values: Floats = data.astype(np.float32, copy=False)
        p = self.parameters(severity)
        across = values.shape[1] if self.axis == "columns" else values.shape[0]
        profile = np.zeros(across, np.float32)
        places = np.arange(across)
        for _ in range(rng.integers(1, self.stripes + 1)):
            centre, width = rng.uniform(0, across), rng.uniform(0.01, 0.04) * across
            profile += np.exp(-0.5 * ((places - centre) / max(width, 0.5)) ** 2).astype(np.float32)
        shape = profile[None, :] if self.axis == "columns" else profile[:, None]
        floor = _floor(values)
        amplitude = floor * ((decibels(p["stripe_db"]) - 1) * np.minimum(shape, 1) + decibels(p["floor_db"]) - 1)
        return _added(values, amplitude.astype(np.float32) * _speckle(values.shape, rng), rng)


def _floor(values: Floats) -> float:
    positive = values[(values > 0) & (values < np.inf)]
    return float(np.median(positive)) if positive.size else 1.0


def _speckle(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return Rayleigh amplitudes of unit power."""
    return np.sqrt(rng.standard_exponential(shape, dtype=np.float32))


def _added(values: Floats, amplitude: Floats, rng: np.random.Generator) -> Floats:
    """Return |x + a e^(i phi)| with a random phase; NaN cells stay NaN."""
    phase = rng.uniform(0, 2 * np.pi, values.shape).astype(np.float32)
    return np.asarray(np.hypot(values + amplitude * np.cos(phase), amplitude * np.sin(phase)), dtype=np.float32)
