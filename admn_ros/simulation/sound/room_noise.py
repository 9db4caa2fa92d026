# SPDX-License-Identifier: Apache-2.0
"""Noise of the room at the microphones of a node: fans of computers, mains hum, and speech-like babble.

Fans and talkers are at positions along the walls and reach every microphone with its own delay, so they have a
direction like the car. The noise is a loop of four seconds and a function of time: consecutive chunks join.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from admn_ros.sensing.preprocess.sound_direction import SOUND_MPS
from admn_ros.simulation.scene.geometry import Floats
from admn_ros.simulation.scene.scene import Scene
from admn_ros.simulation.scene.sensor_node import SensorNode
from admn_ros.simulation.sound.car_sound import SAMPLE_RATE_HZ

LOOP = 1 << 16
_HUM_HZ = (120, 240, 360)      # twice the mains frequency and harmonics, rounded to multiples of the loop frequency
_FANS = 3
_TALKERS = 3
_SYLLABLES_HZ = 8.0


class RoomNoise:
    """A loop of noise at four microphones.

    Args:
        scene: room, whose seed draws positions and spectra of the sources, the same for every node.
        node: node, whose name draws the phases of the hum.
        places_m: positions of the microphones (4, 3) in `map`.
        noise: level of fans and hum, RMS relative to full scale.
        babble: level of talkers, likewise.
    """

    def __init__(self, scene: Scene, node: SensorNode, places_m: Floats, noise: float, babble: float) -> None:
        rng = np.random.default_rng([scene.seed, 29])
        hertz: Floats = np.fft.rfftfreq(LOOP, 1 / SAMPLE_RATE_HZ).astype(np.float64)
        fans = _mixed([_fan(rng, hertz) for _ in range(_FANS)], _at_walls(rng, scene, _FANS), places_m, hertz)
        hum = 0.3 * _hum(np.random.default_rng([scene.seed, 31, *node.name.encode()]))
        loop = noise * (fans + hum) / np.sqrt(1 + 0.3**2)
        if babble:
            talkers = [_talker(rng, hertz) for _ in range(_TALKERS)]
            loop += babble * _mixed(talkers, _at_walls(rng, scene, _TALKERS), places_m, hertz)
        self._loop: npt.NDArray[np.float32] = loop.astype(np.float32)

    def at(self, first: int, samples: int) -> npt.NDArray[np.float32]:
        """Return `samples` samples (4, samples) from number `first`; number 0 is at time 0."""
        return self._loop.take(np.arange(first, first + samples), axis=1, mode="wrap")


def _at_walls(rng: np.random.Generator, scene: Scene, count: int) -> Floats:
    """Draw positions (count, 3) near the walls, 0.3 to 1.5 m high."""
    half = np.array(scene.room_half_m) - 0.3
    places = rng.uniform(-half, half, (count, 2))
    side = rng.integers(0, 2, count)
    row = np.arange(count)
    places[row, side] = np.where(rng.random(count) < 0.5, -1, 1) * half[side]
    return np.column_stack([places, rng.uniform(0.3, 1.5, count)])


def _mixed(spectra: list[npt.NDArray[np.complex128]], places: Floats, microphones: Floats, hertz: Floats) -> Floats:
    """Return the sum of sources at the microphones (4, LOOP), with RMS 1 over all of them."""
    total = np.zeros((len(microphones), len(hertz)), np.complex128)
    for spectrum, place in zip(spectra, places, strict=True):
        away = np.linalg.norm(microphones - place, axis=1)[:, None]
        total += spectrum * np.exp(-2j * np.pi * hertz * away / SOUND_MPS) / away
    sound: Floats = np.fft.irfft(total, LOOP, axis=1)
    normalized: Floats = sound / sound.std()
    return normalized


def _fan(rng: np.random.Generator, hertz: Floats) -> npt.NDArray[np.complex128]:
    """Return the spectrum of a fan: noise that falls with frequency, and the tone of the blades."""
    spectrum = np.fft.rfft(rng.standard_normal(LOOP)) / (1 + (hertz / 400) ** 2)
    spectrum[hertz < 60] = 0
    blade = int(rng.uniform(180, 420) * LOOP / SAMPLE_RATE_HZ)
    spectrum[blade] += 0.2 * np.sqrt(np.sum(np.abs(spectrum) ** 2)) * np.exp(2j * np.pi * rng.random())
    return spectrum


def _talker(rng: np.random.Generator, hertz: Floats) -> npt.NDArray[np.complex128]:
    """Return the spectrum of speech-like noise: formants from 200 Hz to 4 kHz, modulated at the rate of syllables."""
    formants = sum(np.exp(-(((hertz - f) / w) ** 2)) * a for f, w, a in (
        (rng.uniform(350, 800), 200, 1.0), (rng.uniform(1000, 1900), 300, 0.5), (rng.uniform(2300, 3000), 400, 0.25)))
    carrier = np.fft.irfft(np.fft.rfft(rng.standard_normal(LOOP)) * formants, LOOP)
    slow = np.fft.rfft(rng.standard_normal(LOOP)) * (hertz < _SYLLABLES_HZ)
    loudness = np.fft.irfft(slow, LOOP)
    return np.fft.rfft(carrier * np.maximum(loudness / loudness.std(), 0))


def _hum(rng: np.random.Generator) -> Floats:
    """Return mains hum (LOOP,) with RMS 1, the same at all four microphones."""
    steps = [round(f * LOOP / SAMPLE_RATE_HZ) for f in _HUM_HZ]
    turn = 2 * np.pi * np.arange(LOOP) / LOOP
    hum = sum((a * np.sin(k * turn + rng.uniform(0, 2 * np.pi)) for k, a in zip(steps, (1, 0.5, 0.3), strict=True)),
              np.zeros(LOOP))
    normalized: Floats = hum / hum.std()
    return normalized
