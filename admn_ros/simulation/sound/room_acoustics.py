# SPDX-License-Identifier: Apache-2.0
"""What a node's four microphones hear in the room: the car, its reflections, and the room's own noise.

Reflections are image sources of the shoebox room (Allen and Berkley, 1979), as in pyroomacoustics. Here the
microphones are mirrored in the walls, not the source: then the images stand still while the source moves, and
every image is heard at the instant the sound left the source. A moving source's delays, levels and Doppler
shifts are so exact at every sample; there are no segments to fade between, and chunks join by themselves.

The array is a circle of four, as Seeed's ReSpeaker, in the node's `microphones` frame (REP-103): the first
45 degrees to the left of forward, then counter-clockwise. Directions are azimuths in radians in that frame,
0 forward, positive to the left.
"""

from __future__ import annotations

from collections.abc import Callable
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

CHUNK = 1056                 # samples: 66 ms, the chunks of GDTM's ReSpeaker
MICROPHONES = 4
ARRAY_RADIUS_M = 0.0323
_DENSE = DENSE_RATE_HZ // SAMPLE_RATE_HZ
_BLOCK = 1056                # samples at once: tables of this size stay in the processor's cache
_KNOT = 132                  # samples between exact delays; lines between them are right to 0.01 sample
_IMAGES_AT_ONCE = 32
_WAY_S = 0.004

Source = Callable[[Floats], Floats]
Path = Callable[[Floats], Floats]


@dataclass(frozen=True)
class AcousticsConfig:
    """How the room sounds.

    order: how many walls a reflection can meet. 3: 63 images; 1: 7 images, for datasets in bulk.
    absorption: of the sound's energy by every surface, 0 to 1; None draws each surface's from the scene's seed.
    noise: level of the room's noise (computers, mains hum), RMS of full scale; 0 for none.
    hiss: level of each microphone's own noise, RMS of full scale.
    babble: level of speech-like noise from a place at a wall, RMS of full scale.
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
    """Microphones (4, 3) in the array's frame, metres."""
    angle = np.pi / 4 + np.pi / 2 * np.arange(MICROPHONES)
    return np.stack([ARRAY_RADIUS_M * np.cos(angle), ARRAY_RADIUS_M * np.sin(angle), np.zeros(MICROPHONES)], axis=1)


def absorption_of(scene: Scene, config: AcousticsConfig) -> Floats:
    """Energy absorption of the six surfaces (3, 2): walls at -x, +x; -y, +y; floor, ceiling."""
    if config.absorption is not None:
        return np.full((3, 2), config.absorption)
    rng = np.random.default_rng([scene.seed, 343])
    # Painted walls with shelves; a floor with a mat; a ceiling of tiles.
    return np.vstack([rng.uniform(0.15, 0.45, (2, 2)), [rng.uniform(0.2, 0.5), rng.uniform(0.3, 0.7)]])


class Microphones:
    """The microphone array of one node in a scene."""

    def __init__(self, scene: Scene, node: SensorNode, config: AcousticsConfig | None = None) -> None:
        """Mirror the microphones in the room's walls.

        Raises:
            InputError: the node stands outside the room.
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
        # One line of images after the other, microphone by microphone.
        self._images = images.reshape(-1, 3)
        self._gains = np.repeat(gains, MICROPHONES)

    def chunk(self, start_s: float, samples: int, source: Source | None, position: Path | None,
              rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """What the array records: float32 (samples, 4), full scale 1.0, sample k at start_s + k / 16000.

        Chunks that follow one another join without a seam, for all but the hiss is a function of time.

        Args:
            start_s: time of the first sample, s. The room's noise is aligned to whole samples.
            samples: how many.
            source: sound pressure at 1 m of the car at increasing times (N,) s, such as `CarSound`; it is asked
                for times before start_s, too, by as much as the longest reflection takes. None is silent.
            position: of the car, times (N,) s to (N, 2) m in `map`; asked for no time before 0.
            rng: of the hiss.

        Raises:
            InputError: samples is negative, or there is a source without a position.
        """
        if samples < 0:
            raise InputError("samples", samples, "at least 0")
        heard = np.zeros((MICROPHONES, samples), np.float32)
        if source is not None:
            if position is None:
                raise InputError("position", None, "a function of time, for there is a source")
            self._add_car(heard, start_s, source, position)
        if self.config.noise or self.config.babble:
            heard += self._noise.at(round(start_s * SAMPLE_RATE_HZ), samples)
        if self.config.hiss:
            heard += np.float32(self.config.hiss) * rng.standard_normal(heard.shape, np.float32)
        return np.ascontiguousarray(heard.T)

    def delays_s(self, position_m: Floats) -> Floats:
        """What sound from places (..., 3) in `map` takes straight to each microphone (..., 4)."""
        away = np.asarray(position_m, np.float64)[..., None, :] - self._places
        delays: Floats = np.linalg.norm(away, axis=-1) / SOUND_MPS
        return delays

    @cached_property
    def _noise(self) -> RoomNoise:
        """The room's noise at these microphones; made when first asked for."""
        return RoomNoise(self._scene, self._node, self._places, self.config.noise, self.config.babble)

    def _add_car(self, heard: npt.NDArray[np.float32], start_s: float, source: Source, position: Path) -> None:
        """Add direct sound and reflections to what is heard (4, samples)."""
        samples = heard.shape[1]
        delay, gain = self._at_knots(start_s, samples, position)
        # A table of the source at the dense rate, on a grid of absolute time, and lines between its samples.
        # A line is a filter, too: -0.3 dB at 7 kHz, with aliases below -30 dB there and below -60 dB at 1 kHz.
        first = int(np.floor((start_s - delay.max()) * DENSE_RATE_HZ)) - 1
        last = int(np.ceil((start_s - delay.min()) * DENSE_RATE_HZ)) + _DENSE * samples + 2
        table = source(np.arange(first, last) / DENSE_RATE_HZ).astype(np.float32)
        begin = start_s * DENSE_RATE_HZ - first
        knots = _BLOCK // _KNOT
        for k in range(0, samples, _BLOCK):
            here = slice(k // _KNOT, k // _KNOT + knots + 1)
            late = begin + _DENSE * k - delay[:, here] * DENSE_RATE_HZ
            # Places in the table as float32 are right to 0.001 only while they are small.
            skip = max(0, int(late.min()) - 1)
            self._add_block(heard[:, k:k + _BLOCK], table[skip:], late - skip, gain[:, here])

    @staticmethod
    def _add_block(heard: npt.NDArray[np.float32], table: npt.NDArray[np.float32], late: Floats, gain: Floats) -> None:
        """Add images to n samples (4, n): late (images, knots) are places in the table less the samples' advance."""
        samples = heard.shape[1]
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
            heard += place.reshape(-1, MICROPHONES, samples).sum(axis=0)

    def _at_knots(self, start_s: float, samples: int, position: Path) -> tuple[Floats, Floats]:
        """Delay (images, knots) in s and gain of each image, exact at knots every _KNOT samples."""
        t = start_s + np.arange(-(-samples // _KNOT) + 1) * _KNOT / SAMPLE_RATE_HZ
        way = _Way(position, t[0] - self._longest_s, t[-1])
        away = self._distance(np.broadcast_to(t, (len(self._images), len(t))), way)
        # Where the source was when the sound left it: the error falls by speed / 343 with each step.
        for _ in range(2):
            away = self._distance(t - away / SOUND_MPS, way)
        return away / SOUND_MPS, self._gains[:, None] / away

    @cached_property
    def _longest_s(self) -> float:
        """No sound takes longer from anywhere in the room."""
        diagonal = np.linalg.norm([*(2 * half for half in self._scene.room_half_m), self._scene.ceiling_m])
        return float((np.linalg.norm(self._images, axis=1).max() + diagonal) / SOUND_MPS)

    def _distance(self, t: Floats, way: _Way) -> Floats:
        """From the source at times (images, knots) to the images."""
        x, y = way.at(t)
        up = (CAR_CENTRE_Z_M - self._images[:, 2:]) ** 2
        away: Floats = np.sqrt((x - self._images[:, :1]) ** 2 + (y - self._images[:, 1:2]) ** 2 + up)
        return np.maximum(away, 0.05)


class _Way:
    """Positions asked for once, every _WAY_S on a grid of absolute time, with lines between: right to 0.01 mm."""

    def __init__(self, position: Path, first_s: float, last_s: float) -> None:
        self._t = np.arange(np.floor(first_s / _WAY_S), np.ceil(last_s / _WAY_S) + 1) * _WAY_S
        self._xy = position(np.maximum(self._t, 0.0))

    def at(self, t: Floats) -> tuple[Floats, Floats]:
        """x and y in metres, shaped as the times."""
        return np.interp(t, self._t, self._xy[:, 0]), np.interp(t, self._t, self._xy[:, 1])


def mirrored(places_m: Floats, low: Floats, high: Floats, absorption: Floats, order: int) -> tuple[Floats, Floats]:
    """Images of places (N, 3) in the six surfaces of a room: (images, N, 3), gain of each (images,).

    The first is the place itself, with gain 1. A reflection multiplies the pressure by sqrt(1 - absorption).

    Args:
        places_m: in the room.
        low, high: the room's corners (3,).
        absorption: (3, 2), energy, of the surfaces at low and at high.
        order: most reflections on the way.
    """
    reflection = np.sqrt(1 - absorption)
    turns = sorted((t for t in product(range(-order, order + 1), repeat=3) if sum(map(abs, t)) <= order),
                   key=lambda t: sum(map(abs, t)))
    images, gains = [], []
    for turn in turns:
        n = np.array(turn)
        size = high - low
        # Unfolded along an axis, room n holds the place as it is when n is even, and mirrored when it is odd.
        inside = np.where(n % 2 == 0, places_m - low, high - places_m)
        images.append(low + n * size + inside)
        # Through |n| walls, by turns the near one and the other.
        more, less = (np.abs(n) + 1) // 2, np.abs(n) // 2
        at_low, at_high = np.where(n > 0, less, more), np.where(n > 0, more, less)
        gains.append(float(np.prod(reflection[:, 0] ** at_low * reflection[:, 1] ** at_high)))
    return np.array(images), np.array(gains)


def _lines(samples: int, knots: int) -> npt.NDArray[np.float32]:
    """Weights (knots, samples) of the knots at each sample: straight lines."""
    at = np.arange(samples) / _KNOT
    weights: npt.NDArray[np.float32] = np.maximum(0, 1 - np.abs(at - np.arange(knots)[:, None])).astype(np.float32)
    return weights
