# SPDX-License-Identifier: Apache-2.0
"""Sound of the model car at 1 m, as a function of time: motor, gears, tyres.

The phase of the tones follows the driven distance, so pitch follows speed. Levels follow speed, too: a stationary car
is silent, because its electric motor does not idle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.simulation.scene.geometry import Floats

SAMPLE_RATE_HZ = 16000
DENSE_RATE_HZ = 4 * SAMPLE_RATE_HZ     # of tables that are interpolated linearly
_BAND_HZ = (6800.0, 7600.0)            # tones fade out here, as in an anti-aliasing filter
_TABLE = 1 << 18                       # samples of the loop of tyre noise at the dense rate: 4.1 s
_KNOT_S = 0.001                        # interval of exact distances; linear interpolation is accurate to 1 um


@dataclass(frozen=True)
class CarVoice:
    """Acoustic properties of a car.

    Attributes:
        turns_per_m: motor revolutions per metre.
        motor: amplitude of each harmonic of the motor, from the first.
        teeth: teeth of the pinion; gears whine at this multiple of the motor frequency.
        whine: RMS of the whine relative to the motor.
        tyres: RMS of the tyre noise relative to the motor.
        wheel_m: circumference of a wheel.
        level: RMS at 1 m and 1 m/s; full scale is 1.
    """

    turns_per_m: float = 310.0
    motor: tuple[float, ...] = (1.0, 0.6, 0.35, 0.12, 0.25, 0.06, 0.05, 0.1)
    teeth: int = 11
    whine: float = 0.25
    tyres: float = 0.6
    wheel_m: float = 0.19
    level: float = 0.05


VOICES = {
    "red_car": CarVoice(),
    "green_car": CarVoice(turns_per_m=238.0, motor=(1.0, 0.25, 0.5, 0.3, 0.1, 0.2), teeth=14, whine=0.4, tyres=0.5),
    "blue_car": CarVoice(turns_per_m=181.0, motor=(0.7, 1.0, 0.2, 0.45, 0.1), teeth=17, whine=0.15, tyres=0.8),
}


class CarSound:
    """Sound pressure of one drive at 1 m from the car, full scale 1.0.

    Args:
        distance_m: function from times (N,) in seconds, at least 0, to the driven distance. The car is stationary
            before 0.
        target: "red_car", "green_car", "blue_car", or "none", which is silent.
        seed: seed of the tyre noise.

    Raises:
        InputError: the target is unknown.
    """

    def __init__(self, distance_m: Callable[[Floats], Floats], target: str = "red_car", seed: int = 0) -> None:
        if target != "none" and target not in VOICES:
            raise InputError("target", repr(target), " or ".join([*VOICES, "none"]))
        self._distance_m = distance_m
        self._voice = VOICES.get(target)
        self._noise = _tyre_noise(seed) if self._voice else np.zeros(2)

    def __call__(self, t_s: Floats) -> Floats:
        """Return the pressure (N,) at increasing times (N,) in seconds."""
        t = np.asarray(t_s, np.float64)
        voice = self._voice
        if voice is None or not t.size:
            return np.zeros_like(t)
        distance, speed = self._driven(t)
        # Tyre noise grows with about speed^1.5, the tone of the motor a little slower.
        sound = speed**1.2 * _tones(voice, distance, speed)
        ripple = 1 + 0.5 * np.sin(2 * np.pi * distance / voice.wheel_m)
        sound += voice.tyres * speed**1.5 * ripple * self._noise_at(t)
        pressure: Floats = voice.level * sound
        return pressure

    def _driven(self, t: Floats) -> tuple[Floats, Floats]:
        """Return distance and speed at times (N,). The knots are on a grid of absolute time."""
        first = np.floor(t[0] / _KNOT_S) - 1
        knots = (first + np.arange(int(np.ceil((t[-1] - t[0]) / _KNOT_S)) + 4)) * _KNOT_S
        distance = self._distance_m(np.maximum(knots, 0.0))
        speed = np.interp(t, knots[:-1] + _KNOT_S / 2, np.abs(np.diff(distance)) / _KNOT_S)
        return np.interp(t, knots, distance), speed

    def _noise_at(self, t: Floats) -> Floats:
        place = t * DENSE_RATE_HZ
        whole = np.floor(place).astype(np.int64)
        low, high = self._noise[whole % _TABLE], self._noise[(whole + 1) % _TABLE]
        noise: Floats = low + (place - whole) * (high - low)
        return noise


class HeldSound:
    """The sound of a source in an interval, computed once for several microphones.

    Args:
        source: function from increasing times (N,) in seconds to the pressure.
        first_s: start of the interval. Microphones need earlier times than they record, by the delay of the longest
            reflection: about 0.1 s with order 3.
        last_s: end of the interval.
    """

    def __init__(self, source: Callable[[Floats], Floats], first_s: float, last_s: float) -> None:
        self._first = int(np.floor(first_s * DENSE_RATE_HZ))
        self._held = source(np.arange(self._first, int(np.ceil(last_s * DENSE_RATE_HZ)) + 1) / DENSE_RATE_HZ)

    def __call__(self, t_s: Floats) -> Floats:
        """Return the pressure (N,) at the samples of DENSE_RATE_HZ nearest to times (N,) in seconds.

        Raises:
            InputError: a time is outside the interval.
        """
        place = np.rint(np.asarray(t_s) * DENSE_RATE_HZ).astype(np.int64) - self._first
        if place.size and not 0 <= place.min() <= place.max() < len(self._held):
            whole = [self._first / DENSE_RATE_HZ, (self._first + len(self._held) - 1) / DENSE_RATE_HZ]
            raise InputError("t_s", [float(np.min(t_s)), float(np.max(t_s))], f"within {whole}")
        held: Floats = self._held[place]
        return held


def _tones(voice: CarVoice, distance: Floats, speed: Floats) -> Floats:
    """Return the harmonics of the motor, with RMS 1, and the whine of the gears with sidebands of the shaft."""
    turn = np.exp(2j * np.pi * voice.turns_per_m * distance)
    turns_hz = voice.turns_per_m * speed
    scale = np.sqrt(2 / sum(a**2 for a in voice.motor))
    tone = np.zeros_like(distance)
    harmonic = np.ones_like(turn)
    for k in range(1, max(len(voice.motor), voice.teeth) + 1):
        harmonic = harmonic * turn
        amplitude = voice.motor[k - 1] * scale if k <= len(voice.motor) else 0.0
        whine = voice.whine * np.sqrt(2) * (1 + 0.4 * turn.real) if k == voice.teeth else 0.0
        if k == voice.teeth or amplitude:
            tone += (amplitude + whine) * _audible(k * turns_hz) * harmonic.imag
    return tone


def _audible(hertz: Floats) -> Floats:
    """Return the gain of the anti-aliasing filter for a tone."""
    low, high = _BAND_HZ
    gain: Floats = np.clip((high - hertz) / (high - low), 0.0, 1.0)
    return gain


def _tyre_noise(seed: int) -> npt.NDArray[np.float64]:
    """Return a loop (_TABLE,) of noise above 200 Hz, falling from 1.5 kHz, with RMS 1, at the dense rate."""
    spectrum = np.fft.rfft(np.random.default_rng([seed, 2]).standard_normal(_TABLE))
    hertz: Floats = np.fft.rfftfreq(_TABLE, 1 / DENSE_RATE_HZ).astype(np.float64)
    spectrum *= np.where(hertz > 200, 1 / (1 + (hertz / 1500) ** 2), 0) * _audible(hertz)
    noise = np.fft.irfft(spectrum, _TABLE)
    loop: Floats = noise / noise.std()
    return loop
