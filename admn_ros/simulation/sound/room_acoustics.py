# SPDX-License-Identifier: Apache-2.0
"""Microphone array of a sensor node: sound of the car with reflections, and noise of the room.

Reflections are image sources of the shoebox room (Allen and Berkley, 1979), as in pyroomacoustics. Here the microphones
are mirrored in the walls instead of the source: the images are static while the source moves, and each image is
evaluated at the time at which the sound left the source. Delays, levels and Doppler shifts of a moving source are exact
at every sample, and chunks join without cross-fading.

The array is a circle of four microphones like Seeed's ReSpeaker, in the node's `microphones` frame (REP-103): the first
is 45 degrees to the left of forward, the others follow counter-clockwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.sensing.preprocess.sound_direction import SOUND_MPS
from admn_ros.simulation.scene.car import CAR_CENTRE_Z_M
from admn_ros.simulation.scene.geometry import Floats
from admn_ros.simulation.scene.scene import Scene
from admn_ros.simulation.scene.sensor_node import SensorNode
from admn_ros.simulation.sound.car_sound import DENSE_RATE_HZ, SAMPLE_RATE_HZ
from admn_ros.simulation.sound.room_noise import RoomNoise

MICROPHONES = 4
ARRAY_RADIUS_M = 0.0323
_DENSE = DENSE_RATE_HZ // SAMPLE_RATE_HZ
_BLOCK = 1056                # samples per block: tables of this size fit the cache of the processor
_KNOT = 132                  # samples between exact delays; linear interpolation is accurate to 0.01 sample
_IMAGES_AT_ONCE = 32
_PATH_STEP_S = 0.004

Source = Callable[[Floats], Floats]
Path = Callable[[Floats], Floats]


@dataclass(frozen=True)
class AcousticsConfig:
    """Acoustics of a room. Levels are RMS relative to full scale; 0 for none.

    Attributes:
        order: largest number of reflections of an image. Order 3 has 63 images; order 1 has 7, for large datasets.
        absorption: absorbed share of the energy at every surface, 0 to 1; None draws one per surface from the seed of
            the scene.
        noise: level of the noise of the room (computers, mains hum).
        hiss: level of each microphone's own noise.
        babble: level of speech-like noise from positions at the walls.
    """

    order: int = 3
    absorption: float | None = None
    noise: float = 0.0015
    hiss: float = 0.0005
    babble: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.order <= 12:
            raise InputError("order", self.order, "0 to 12")
        if self.absorption is not None and not 0 <= self.absorption <= 1:
            raise InputError("absorption", self.absorption, "0 to 1, or None")
        for name in ("noise", "hiss", "babble"):
            if getattr(self, name) < 0:
                raise InputError(name, getattr(self, name), "at least 0")


FAST = AcousticsConfig(order=1)


def array_shape() -> Floats:
    """Return the positions of the microphones (4, 3) in the frame of the array, in metres."""
    angle = np.pi / 4 + np.pi / 2 * np.arange(MICROPHONES)
    return np.stack([ARRAY_RADIUS_M * np.cos(angle), ARRAY_RADIUS_M * np.sin(angle), np.zeros(MICROPHONES)], axis=1)


def absorption_of(scene: Scene, config: AcousticsConfig) -> Floats:
    """Return the energy absorption of the six surfaces (3, 2): walls at -x, +x; -y, +y; floor, ceiling."""
    if config.absorption is not None:
        return np.full((3, 2), config.absorption)
    rng = np.random.default_rng([scene.seed, 343])
    # Painted walls with shelves; a floor with a mat; a ceiling of tiles.
    return np.vstack([rng.uniform(0.15, 0.45, (2, 2)), [rng.uniform(0.2, 0.5), rng.uniform(0.3, 0.7)]])


class Microphones:
    """The microphone array of one node in a scene."""

    def __init__(self, scene: Scene, node: SensorNode, config: AcousticsConfig | None = None) -> None:
        """Mirror the microphones in the walls.

        Raises:
            InputError: the node is outside the room.
        """
        self.config = config or AcousticsConfig()
        self._scene, self._node = scene, node
        self._pose = node.sensor("microphones")
        self._places = array_shape() @ self._pose.rotation.T + self._pose.translation_m
        low = np.array([-scene.room_half_m[0], -scene.room_half_m[1], 0.0])
        high = np.array([*scene.room_half_m, scene.ceiling_m])
        if not np.all((self._places > low) & (self._places < high)):
            raise InputError(f"{node.name}.base", self._pose.translation_m.tolist(), "inside the room")
        images, gains = mirrored(self._places, low, high, absorption_of(scene, self.config), self.config.order)
        # Images in order, the four microphones of each in sequence.
        self._images = images.reshape(-1, 3)
        self._gains = np.repeat(gains, MICROPHONES)

    def chunk(self, start_s: float, samples: int, source: Source | None, position: Path | None,
              rng: np.random.Generator, others: Sequence[tuple[Source, Path]] = ()) -> npt.NDArray[np.float32]:
        """Record a chunk: float32 (samples, 4), full scale 1.0, sample k at start_s + k / 16000.

        Consecutive chunks join without a seam, because everything but the hiss is a function of time.

        Args:
            start_s: time of the first sample in seconds. The noise of the room is aligned to whole samples.
            samples: number of samples.
            source: function from increasing times (N,) in seconds to the sound pressure of the car at 1 m, such as
                `CarSound`. It is called with times before `start_s`, by the delay of the longest reflection. None for
                silence.
            position: function from times (N,) in seconds, at least 0, to the position of the car (N, 2) in `map`.
            rng: generator of the hiss.
            others: source and position of each further car.

        Raises:
            InputError: `samples` is negative, or there is a source without a position.
        """
        if samples < 0:
            raise InputError("samples", samples, "at least 0")
        sound = np.zeros((MICROPHONES, samples), np.float32)
        if source is not None:
            if position is None:
                raise InputError.missing("position", "a function of time, because there is a source")
            self._add_car(sound, start_s, source, position)
        for further, place in others:
            self._add_car(sound, start_s, further, place)
        if self.config.noise or self.config.babble:
            sound += self._noise.at(round(start_s * SAMPLE_RATE_HZ), samples)
        if self.config.hiss:
            sound += np.float32(self.config.hiss) * rng.standard_normal(sound.shape, np.float32)
        return np.ascontiguousarray(sound.T)

    def delays_s(self, position_m: Floats) -> Floats:
        """Return the delay of direct sound from positions (..., 3) in `map` to each microphone (..., 4)."""
        away = np.asarray(position_m, np.float64)[..., None, :] - self._places
        delays: Floats = np.linalg.norm(away, axis=-1) / SOUND_MPS
        return delays

    @cached_property
    def _noise(self) -> RoomNoise:
        """Noise of the room at these microphones."""
        return RoomNoise(self._scene, self._node, self._places, self.config.noise, self.config.babble)

    def _add_car(self, sound: npt.NDArray[np.float32], start_s: float, source: Source, position: Path) -> None:
        """Add direct sound and reflections of the car to a chunk (4, samples)."""
        samples = sound.shape[1]
        delay, gain = self._at_knots(start_s, samples, position)
        # A table of the source at the dense rate, on a grid of absolute time, interpolated linearly. Interpolation is a
        # filter: -0.3 dB at 7 kHz, with aliases below -30 dB there and below -60 dB at 1 kHz.
        first = int(np.floor((start_s - delay.max()) * DENSE_RATE_HZ)) - 1
        last = int(np.ceil((start_s - delay.min()) * DENSE_RATE_HZ)) + _DENSE * samples + 2
        table = source(np.arange(first, last) / DENSE_RATE_HZ).astype(np.float32)
        begin = start_s * DENSE_RATE_HZ - first
        knots = _BLOCK // _KNOT
        for k in range(0, samples, _BLOCK):
            here = slice(k // _KNOT, k // _KNOT + knots + 1)
            late = begin + _DENSE * k - delay[:, here] * DENSE_RATE_HZ
            # Positions in the table as float32 are accurate to 0.001 only while they are small.
            skip = max(0, int(late.min()) - 1)
            self._add_block(sound[:, k:k + _BLOCK], table[skip:], late - skip, gain[:, here])

    @staticmethod
    def _add_block(sound: npt.NDArray[np.float32], table: npt.NDArray[np.float32], late: Floats, gain: Floats) -> None:
        """Add images to n samples (4, n); `late` (images, knots) are their positions in the table."""
        samples = sound.shape[1]
        between = _lines(samples, late.shape[1])
        ramp = (_DENSE * np.arange(samples)).astype(np.float32)
        slope = np.diff(table[:int(late.max()) + _DENSE * samples + 3])
        begin, loud = late.astype(np.float32), gain.astype(np.float32)
        for k in range(0, len(late), _IMAGES_AT_ONCE):
            place = begin[k:k + _IMAGES_AT_ONCE] @ between
            place += ramp
            whole = place.astype(np.int32)
            place -= whole
            place *= slope.take(whole)
            place += table.take(whole)
            place *= loud[k:k + _IMAGES_AT_ONCE] @ between
            sound += place.reshape(-1, MICROPHONES, samples).sum(axis=0)

    def _at_knots(self, start_s: float, samples: int, position: Path) -> tuple[Floats, Floats]:
        """Return delay (images, knots) in seconds and gain of each image, exact at every _KNOT samples."""
        t = start_s + np.arange(-(-samples // _KNOT) + 1) * _KNOT / SAMPLE_RATE_HZ
        way = _SampledPath(position, t[0] - self._longest_s, t[-1])
        away = self._distance(np.broadcast_to(t, (len(self._images), len(t))), way)
        # Position of the source when the sound left it: the error shrinks by speed / 343 with each iteration.
        for _ in range(2):
            away = self._distance(t - away / SOUND_MPS, way)
        return away / SOUND_MPS, self._gains[:, None] / away

    @cached_property
    def _longest_s(self) -> float:
        """Upper bound of the delay from anywhere in the room, in seconds."""
        diagonal = np.linalg.norm([*(2 * half for half in self._scene.room_half_m), self._scene.ceiling_m])
        return float((np.linalg.norm(self._images, axis=1).max() + diagonal) / SOUND_MPS)

    def _distance(self, t: Floats, way: _SampledPath) -> Floats:
        """Return the distance from the source at times (images, knots) to the images."""
        x, y = way.at(t)
        up = (CAR_CENTRE_Z_M - self._images[:, 2:]) ** 2
        away: Floats = np.sqrt((x - self._images[:, :1]) ** 2 + (y - self._images[:, 1:2]) ** 2 + up)
        return np.maximum(away, 0.05)


class _SampledPath:
    """Positions every _PATH_STEP_S on a grid of absolute time; linear interpolation is accurate to 0.01 mm."""

    def __init__(self, position: Path, first_s: float, last_s: float) -> None:
        self._t = np.arange(np.floor(first_s / _PATH_STEP_S), np.ceil(last_s / _PATH_STEP_S) + 1) * _PATH_STEP_S
        self._xy = position(np.maximum(self._t, 0.0))

    def at(self, t: Floats) -> tuple[Floats, Floats]:
        """Return x and y in metres at times of any shape."""
        return np.interp(t, self._t, self._xy[:, 0]), np.interp(t, self._t, self._xy[:, 1])


def mirrored(places_m: Floats, low: Floats, high: Floats, absorption: Floats, order: int) -> tuple[Floats, Floats]:
    """Mirror positions in the six surfaces of a room.

    Args:
        places_m: positions (N, 3) in the room.
        low: corner of the room (3,) with the smallest coordinates.
        high: corner of the room (3,) with the largest coordinates.
        absorption: energy absorption (3, 2) of the surfaces at `low` and at `high`.
        order: largest number of reflections.

    Returns:
        Images (images, N, 3) and the gain of each (images,). The first is the position itself, with gain 1. A
        reflection multiplies the pressure by sqrt(1 - absorption).
    """
    reflection = np.sqrt(1 - absorption)
    turns = sorted((t for t in product(range(-order, order + 1), repeat=3) if sum(map(abs, t)) <= order),
                   key=lambda t: sum(map(abs, t)))
    images, gains = [], []
    for turn in turns:
        n = np.array(turn)
        size = high - low
        # Unfolded along an axis, room n holds the position itself if n is even, and mirrored if n is odd.
        inside = np.where(n % 2 == 0, places_m - low, high - places_m)
        images.append(low + n * size + inside)
        # |n| reflections, alternately at the two surfaces of the axis.
        more, less = (np.abs(n) + 1) // 2, np.abs(n) // 2
        at_low, at_high = np.where(n > 0, less, more), np.where(n > 0, more, less)
        gains.append(float(np.prod(reflection[:, 0] ** at_low * reflection[:, 1] ** at_high)))
    return np.array(images), np.array(gains)


def _lines(samples: int, knots: int) -> npt.NDArray[np.float32]:
    """Return the weights (knots, samples) of linear interpolation between knots."""
    at = np.arange(samples) / _KNOT
    weights: npt.NDArray[np.float32] = np.maximum(0, 1 - np.abs(at - np.arange(knots)[:, None])).astype(np.float32)
    return weights
