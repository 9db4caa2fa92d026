# SPDX-License-Identifier: Apache-2.0
"""A room, a drive in it and the sensors of its nodes: ideal and noisy measurements at any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.sample import Array, Modality, SensorKey
from admn_ros.simulation.camera.camera_physics import expose, measure_depth
from admn_ros.simulation.camera.render import Renderer
from admn_ros.simulation.difficulty import PLAIN, Difficulty
from admn_ros.simulation.radar.echoes import Echoes
from admn_ros.simulation.radar.fmcw import FmcwRadar, RadarReading
from admn_ros.simulation.radar.moving import other_echoes, person_boxes, spurious_echoes
from admn_ros.simulation.scene.car import CarState
from admn_ros.simulation.scene.driving import KINDS, Drive
from admn_ros.simulation.scene.geometry import Floats
from admn_ros.simulation.scene.others import OtherMotions
from admn_ros.simulation.scene.scene import Scene
from admn_ros.simulation.sensor_noise import SensorNoise
from admn_ros.simulation.sound.car_sound import SAMPLE_RATE_HZ, CarSound, HeldSound
from admn_ros.simulation.sound.room_acoustics import Microphones, Path, Source

_ECHO_S = 0.15   # longest delay of sound
_MODALITIES = (Modality.RGB, Modality.DEPTH, Modality.RADAR, Modality.AUDIO)


@dataclass(frozen=True)
class Quality:
    """Resolution of a simulation.

    Attributes:
        rgb: width and height of RGB images in pixels.
        depth: width and height of depth images in pixels.
        supersample: samples per RGB pixel along each axis.
        order: largest number of reflections of sound.
        radar_rows: kept range bins of 256; 128 reach 5.6 m, beyond the far side of the track.
    """

    rgb: tuple[int, int]
    depth: tuple[int, int]
    supersample: int
    order: int
    radar_rows: int


QUALITIES = {
    "real": Quality((480, 270), (160, 120), 3, 3, 256),    # as in GDTM
    "medium": Quality((320, 180), (160, 120), 2, 1, 256),  # for demos and live simulation
    "small": Quality((128, 72), (80, 60), 2, 1, 128),     # for training
}


class World:
    """A scene, a drive in it, and the sensors of its nodes. A context manager that holds a renderer.

    Every measurement has its own noise generator, from the seed, the sensor and `index`, so that it does not depend on
    other measurements.

    Attributes:
        quality: resolution.
        scene: room with its sensor nodes.
        drive: motion of the car.
        others: motions of the second car and of people.
        seed: seed of room, drive and noise.
        difficulty: second car, people and noise of the sensors.
        renderer: renderer of images and depth.
    """

    def __init__(self, seed: int, *, target: str | None = None, viewpoints: str = "default", drive: str = "laps",
                 nodes: int = 3, quality: str = "real", difficulty: Difficulty = PLAIN) -> None:
        """Build everything from the seed.

        Args:
            seed: seed of the room, the drive and all noise.
            target: "red_car", "green_car", "none", or None to draw it.
            viewpoints: "default", "train" or "held_out"; see `Scene.seeded`.
            drive: "laps" or "random"; see `Drive.seeded`.
            nodes: number of sensor nodes, 1 to 3.
            quality: one of `QUALITIES`.
            difficulty: second car, people and noise of the sensors.

        Raises:
            InputError: an argument is out of range, or no renderer is installed.
        """
        if quality not in QUALITIES:
            raise InputError("quality", repr(quality), " or ".join(QUALITIES))
        if drive not in KINDS:
            raise InputError("drive", repr(drive), " or ".join(KINDS))
        self.quality = QUALITIES[quality]
        self.scene = Scene.seeded(seed, target, viewpoints, nodes, difficulty)
        self.drive = Drive.seeded(seed, drive)
        self.others = OtherMotions(self.scene, self.drive)
        self._noise = SensorNoise(difficulty.sensor_noise)
        self.seed, self.difficulty = seed, difficulty
        self.renderer = Renderer(self.scene, self.quality.rgb, self.quality.depth,
                                 supersample=self.quality.supersample)
        self._radars = [FmcwRadar(self.scene, node, self._noise.radar) for node in self.scene.nodes]
        acoustics = self._noise.acoustics(self.quality.order)
        self._microphones = [Microphones(self.scene, node, acoustics) for node in self.scene.nodes]
        self._sounds: list[tuple[Source, Path]] = []
        if self.scene.target != "none":
            self._sounds.append((CarSound(self.drive.distance_m, self.scene.target, seed), self._path))
        second = self.others.second_car
        if second is not None:
            self._sounds.append((CarSound(second.way_m, "blue_car", seed + 1), second.positions))
        # The stripes are from the lamps of the motion capture, which do not move.
        rng = np.random.default_rng([seed, 41])
        self._stripes = [rng.uniform(0.03, 0.97, int(rng.integers(3, 6))) for _ in self.scene.nodes]

    def __enter__(self) -> World:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Release the renderer."""
        self.renderer.close()

    @property
    def keys(self) -> list[SensorKey]:
        """Inputs, in the order of the nodes."""
        return [SensorKey(node.name, m) for node in self.scene.nodes for m in _MODALITIES]

    def car(self, t_s: float) -> CarState | None:
        """Return the state of the car at a time in seconds; None in a room without one."""
        return None if self.scene.target == "none" else self.drive.at(t_s)

    def rgb(self, node: int, t_s: float, index: int) -> npt.NDArray[np.uint8]:
        """Return an RGB image: uint8 (H, W, 3)."""
        ideal = self.renderer.render(node, self.car(t_s), others=self.others.at(t_s))
        taken = expose(ideal, self._rng(node, Modality.RGB, index), iso=self._noise.iso)
        return self._noise.compressed(taken, self._further_rng(node, Modality.RGB, index))

    def depth(self, node: int, t_s: float, index: int) -> npt.NDArray[np.float32]:
        """Return a depth image: float32 (H, W), metres, NaN where invalid."""
        truth, reflectance = self.renderer.depth_and_reflectance(node, self.car(t_s), self.others.at(t_s))
        noise = self._noise
        measured = measure_depth(truth, self._rng(node, Modality.DEPTH, index), reflectance=reflectance,
                                 matrix=self.renderer.camera(node, "depth").matrix,
                                 stripes=self._stripes[node].tolist(), gain=noise.laser_gain,
                                 spread_per_m=noise.depth_spread_per_m, flying=noise.flying)
        return noise.patchy(measured, self._further_rng(node, Modality.DEPTH, index))

    def mask(self, node: int, t_s: float) -> npt.NDArray[np.uint8]:
        """Return what each pixel of an RGB image shows: uint8 (H, W), a `scene.surfaces.Surface`."""
        return self.renderer.surfaces(node, self.car(t_s), others=self.others.at(t_s))

    def radar(self, node: int, t_s: float, index: int) -> RadarReading:
        """Return a radar frame."""
        car = self.car(t_s)
        velocity = None if car is None else self.drive.velocity_mps(t_s)
        radar, rng = self._radars[node], self._further_rng(node, Modality.RADAR, index)
        others = self.others.at(t_s)
        further = other_echoes(others, radar.position_m, rng)
        if self._noise.spurious_echoes:
            further.append(spurious_echoes(self.scene, self._noise.spurious_echoes, rng))
        return radar.measure(car, velocity, self._rng(node, Modality.RADAR, index),
                             Echoes.joined(further) if further else None, person_boxes(others.people))

    def audio(self, node: int, start_s: float, samples: int, index: int,
              sounds: Sequence[tuple[Source, Path]] | None = None) -> npt.NDArray[np.float32]:
        """Return sound: float32 (samples, 4) from `start_s`, at 16 kHz; `sounds` replaces those of the cars."""
        heard = self._sounds if sounds is None else sounds
        source, path = heard[0] if heard else (None, None)
        return self._microphones[node].chunk(start_s, samples, source, path, self._rng(node, Modality.AUDIO, index),
                                             heard[1:])

    def _path(self, t_s: Floats) -> Floats:
        return self.drive.at(np.maximum(t_s, 0.0)).position_m

    def readings(self, t_s: float, index: int, audio_s: float) -> dict[SensorKey, Array]:
        """Return all inputs at a time as documented in `admn_ros.sample.Reading`; audio ends at that time."""
        samples = round(audio_s * SAMPLE_RATE_HZ)
        start_s = t_s - (samples - 1) / SAMPLE_RATE_HZ
        # The sound of a car is the same for every node. Reflections need earlier times.
        sounds = [(HeldSound(sound, start_s - _ECHO_S, t_s + 0.001), path) for sound, path in self._sounds]
        found: dict[SensorKey, Array] = {}
        for number, node in enumerate(self.scene.nodes):
            maps: dict[Modality, Array] = {
                Modality.RGB: self.rgb(number, t_s, index),
                Modality.DEPTH: self.depth(number, t_s, index),
                Modality.RADAR: self.radar(number, t_s, index).range_azimuth[:self.quality.radar_rows],
                Modality.AUDIO: self.audio(number, start_s, samples, index, sounds),
            }
            found |= {SensorKey(node.name, m): x for m, x in maps.items()}
        return found

    def _rng(self, node: int, modality: Modality, index: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, 42, node, _MODALITIES.index(modality), index])

    def _further_rng(self, node: int, modality: Modality, index: int) -> np.random.Generator:
        """Return the generator of what difficulties add, so that they do not change the rest."""
        return np.random.default_rng([self.seed, 44, node, _MODALITIES.index(modality), index])
