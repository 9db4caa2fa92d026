# SPDX-License-Identifier: Apache-2.0
"""Background noise at a signal-to-noise ratio: wind in the microphones, a standing fan in the room.

The paper mixes in recordings of both (Sections 4.1.1, A.3; AVE). Neither the recordings nor the levels are published;
the noise here is procedural.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.config import AUDIO_RATE_HZ
from admn_ros.sample import Array, Modality
from admn_ros.sensing.corruption.corruption import Corruption, Floats, clip_audio, decibels

Doubles = npt.NDArray[np.float64]

_MIN_LOUDNESS = 1e-3
"""Assumed loudness of quieter recordings. Otherwise noise in silence would be silent."""


@dataclass(frozen=True)
class BackgroundNoise(Corruption):
    """Noise mixed in at a signal-to-noise ratio over all channels, then clipped at full scale.

    SNR = clean_db - (clean_db - worst_db) * severity. 30 dB is hardly audible, -10 dB drowns the sound. The ratio is
    exact before clipping, for recordings louder than 1e-3 (root mean square, full scale 1).

    Attributes:
        sample_rate_hz: sample rate of the readings in Hz.
        clean_db: SNR at severity 0.
        worst_db: SNR at severity 1.
    """

    modality: Modality = Modality.AUDIO
    sample_rate_hz: int = AUDIO_RATE_HZ
    clean_db: float = 30.0
    worst_db: float = -10.0

    def parameters(self, severity: float) -> dict[str, float]:
        """Return the signal-to-noise ratio in dB."""
        return {"snr_db": self.clean_db - (self.clean_db - self.worst_db) * severity}

    def _damage(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        sound: Floats = data.astype(np.float32, copy=False)
        noise = self.noise(len(sound), sound.shape[1], rng)
        power = float(np.mean(noise.astype(np.float64) ** 2))
        loudness = max(_MIN_LOUDNESS, float(np.sqrt(np.mean(sound.astype(np.float64) ** 2))))
        gain = loudness / decibels(self.parameters(severity)["snr_db"]) / max(power, 1e-30) ** 0.5
        return clip_audio(sound + np.float32(gain) * noise, sound)

    @abstractmethod
    def noise(self, samples: int, channels: int, rng: np.random.Generator) -> Floats:
        """Return the noise alone, float32 (samples, channels), of any power."""


@dataclass(frozen=True)
class Wind(BackgroundNoise):
    """Turbulence at the microphones: rumble that falls off above 80 Hz and swells in gusts.

    Turbulence is independent for each microphone; gusts are common to all. Wind has almost no energy at the frequencies
    of a motor, so that the direction of the motor is still measurable at -10 dB. Severity 1 is therefore -40 dB, a
    storm that overloads the microphones.
    """

    worst_db: float = -40.0
    kind: ClassVar[str] = "wind"

    def noise(self, samples: int, channels: int, rng: np.random.Generator) -> Floats:
        """Return low-passed noise with a slow envelope."""
        rumble = _shaped(samples, channels, self.sample_rate_hz, rng, lambda f: 1 / (1 + (f / 80) ** 2))
        gusts = _shaped(samples, 1, self.sample_rate_hz, rng, lambda f: 1 / (1 + (f / 0.7) ** 4))
        return np.asarray(rumble * np.exp(0.8 * gusts), dtype=np.float32)


@dataclass(frozen=True)
class Fan(BackgroundNoise):
    """A standing fan: a blade-pass tone of 60 to 140 Hz with harmonics, and broadband noise of the air.

    The phases of the tone are independent for each microphone; the broadband noise is common to all.
    """

    kind: ClassVar[str] = "fan"

    def noise(self, samples: int, channels: int, rng: np.random.Generator) -> Floats:
        """Return eight harmonics and broadband noise of equal power."""
        t = np.arange(samples)[:, None] / self.sample_rate_hz
        blade_hz = rng.uniform(60, 140)
        # The speed of a motor varies by about 0.1 %, which broadens the spectral lines.
        waver = 0.05 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * t)
        phases = rng.uniform(0, 2 * np.pi, (8, channels))
        tones = sum(np.sin(2 * np.pi * k * (blade_hz * t + waver) + phases[k - 1]) / k for k in range(1, 9))
        rush = _shaped(samples, 1, self.sample_rate_hz, rng, lambda f: 1 / np.sqrt(1 + (f / 400) ** 2))
        return np.asarray(tones + rush, dtype=np.float32)


def _shaped(samples: int, channels: int, rate_hz: int, rng: np.random.Generator,
            response: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Doubles:
    """Return Gaussian noise (samples, channels) of unit variance with a spectrum.

    At least two seconds are generated and cut, so that short chunks have low frequencies too.

    Args:
        samples: number of samples.
        channels: number of channels.
        rate_hz: sample rate in Hz.
        rng: source of random numbers.
        response: function from frequency in Hz to amplitude.
    """
    count = cv2.getOptimalDFTSize(max(samples, 2 * rate_hz))
    spectrum = np.fft.rfft(rng.standard_normal((count, channels)), axis=0)
    spectrum *= response(np.fft.rfftfreq(count, 1 / rate_hz))[:, None]
    noise = np.fft.irfft(spectrum, count, axis=0)
    shaped: Doubles = noise[:samples] / noise.std(axis=0)
    return shaped
