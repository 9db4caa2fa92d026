# SPDX-License-Identifier: Apache-2.0
"""What four microphones of a node hear of the car: motor tone, tyres, and the room's own noise.

The motor's phase follows the driven distance, so pitch follows speed. Every microphone evaluates the
source at the instant the sound left it, so delays between microphones and Doppler shift come by themselves.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from admn_ros.sensing.preprocess.sound_direction import SOUND_MPS
from admn_ros.simulation.scene.geometry import CAR_CENTRE_Z_M, Floats, Motion, Pose

SAMPLE_RATE_HZ = 16000
CHUNK = 1056                 # samples: 66 ms, the chunks of GDTM's ReSpeaker
MICROPHONES = 4
ARRAY_RADIUS_M = 0.032
TURNS_PER_M = 310.0          # motor turns per metre driven: 340 Hz at 1.1 m/s
HARMONICS = ((1, 1.0), (2, 0.6), (3, 0.35), (5, 0.25), (8, 0.12))
LEVEL_AT_1M = 0.05           # RMS of full scale
BACKGROUND = 0.0015
_TYRE_RATE_HZ = 4 * SAMPLE_RATE_HZ
_SLICE = 1 << 15


def microphone_positions() -> Floats:
    """Microphones (4, 3) in the array's frame: on a circle, the first 45 degrees to the left of forward."""
    angle = np.pi / 4 + np.pi / 2 * np.arange(MICROPHONES)
    return np.stack([ARRAY_RADIUS_M * np.cos(angle), ARRAY_RADIUS_M * np.sin(angle), np.zeros(MICROPHONES)], axis=1)


def record_sound(pose: Pose, motion: Motion, start_s: float, samples: int, seed: int, *,
                 background: bool = True) -> npt.NDArray[np.float32]:
    """What the array at a pose in `map` records: (samples, 4), full scale 1.0, first sample at start_s.

    Args:
        pose: the array in `map`.
        motion: the car's drive.
        start_s: time of the first sample, seconds.
        samples: how many at SAMPLE_RATE_HZ.
        seed: of the tyres' noise (the same for every array with this seed).
        background: with the room's and the microphones' own noise.
    """
    microphones = microphone_positions() @ pose.rotation.T + pose.translation_m
    tyres = _tyre_noise(start_s, samples, seed)
    heard = np.empty((samples, MICROPHONES), np.float32)
    for first in range(0, samples, _SLICE):
        t = start_s + np.arange(first, min(first + _SLICE, samples)) / SAMPLE_RATE_HZ
        # Where the car was when the sound left it: one step of the iteration is exact to micrometres here.
        delay = np.linalg.norm(_source(motion, t) - pose.translation_m, axis=1) / SOUND_MPS
        source = _source(motion, t - delay)
        for m in range(MICROPHONES):
            distance = np.linalg.norm(source - microphones[m], axis=1)
            left = t - distance / SOUND_MPS
            heard[first:first + len(t), m] = _emitted(motion, left, start_s, tyres) / distance
    if background:
        heard += _background(samples, seed, pose)
    return heard


def _source(motion: Motion, t: Floats) -> Floats:
    position = motion.at(t).position_m
    return np.concatenate([position, np.full((len(t), 1), CAR_CENTRE_Z_M)], axis=1)


def _emitted(motion: Motion, t: Floats, start_s: float, tyres: Floats) -> Floats:
    """Sound pressure at 1 m of the car at emission times (N,)."""
    turns = TURNS_PER_M * motion.distance_m(t)
    tone = np.zeros_like(t)
    for harmonic, level in HARMONICS:
        tone += level * np.sin(2 * np.pi * harmonic * turns)
    power = sum(level**2 for _, level in HARMONICS) / 2
    place = (t - start_s + 0.1) * _TYRE_RATE_HZ
    rumble = np.interp(place, np.arange(len(tyres)), tyres)
    sound: Floats = LEVEL_AT_1M * (tone / np.sqrt(power) + 0.5 * rumble)
    return sound


def _tyre_noise(start_s: float, samples: int, seed: int) -> Floats:
    """Noise around 200 to 1000 Hz with RMS 1, from 0.1 s before the first sample on, oversampled to be interpolated."""
    count = (samples // SAMPLE_RATE_HZ + 2) * _TYRE_RATE_HZ
    spectrum = np.fft.rfft(np.random.default_rng([seed, 2]).standard_normal(count))
    hertz = np.fft.rfftfreq(count, 1 / _TYRE_RATE_HZ)
    spectrum *= np.where((hertz > 200) & (hertz < 4000), 1 / (1 + (hertz / 800) ** 2), 0)
    noise = np.fft.irfft(spectrum, count)
    normalized: Floats = noise / noise.std()
    return normalized


def _background(samples: int, seed: int, pose: Pose) -> npt.NDArray[np.float32]:
    """Hum of the mains, shared; hiss, each microphone's own. Differs between arrays."""
    place = [round(float(v) * 1000) & 0xFFFF for v in pose.translation_m]
    rng = np.random.default_rng([seed, 3, *place])
    t = np.arange(samples) / SAMPLE_RATE_HZ
    hum = BACKGROUND * np.sin(2 * np.pi * 120 * t + rng.uniform(0, 2 * np.pi))
    hiss = BACKGROUND * rng.standard_normal((samples, MICROPHONES), dtype=np.float32)
    noise: npt.NDArray[np.float32] = (hiss + hum[:, None]).astype(np.float32)
    return noise
