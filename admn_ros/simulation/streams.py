# SPDX-License-Identifier: Apache-2.0
"""Message streams of a simulated world: each sensor with its own rate, clock jitter and latency.

Sensors are not synchronous. A message has two times: the stamp in its header (time of the measurement) and its record
stamp (time of arrival). The same world gives the same messages, bit for bit, whatever else is recorded.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from admn_ros.recordings import bag_messages as make
from admn_ros.sample import Array, Modality
from admn_ros.sensing.corruption.vision import DepthSaturation, LowLight
from admn_ros.simulation.events import Event
from admn_ros.simulation.scene.car import CAR_CENTRE_Z_M
from admn_ros.simulation.scene.driving import Drive
from admn_ros.simulation.scene.geometry import Pose, rotation_z
from admn_ros.simulation.scene.sensor_node import SensorNode
from admn_ros.simulation.sound.car_sound import SAMPLE_RATE_HZ
from admn_ros.simulation.world import World

CAMERA_HZ, RADAR_HZ, TRUTH_HZ, TEMPERATURE_HZ = 15.0, 4.0, 60.0, 1.0
CHUNK = 1056             # samples of an audio message: 66 ms, as of GDTM's ReSpeaker
START_NS = 1_700_000_000_000_000_000
BUDGET_TOPIC, TRUTH_TOPIC, TEMPERATURE_TOPIC = "/admn/budget", "/ground_truth/pose", "/temperature"
POINT_FIELDS = ("x", "y", "z", "velocity", "snr_db")
OPTITRACK = "optitrack"
# OptiTrack has y up: its (x, y, z) is (x, -z, y) in `map`.
_FROM_OPTITRACK = Pose(np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]), np.zeros(3))
_DAMAGE = {"lights_out": LowLight(), "depth_saturated": DepthSaturation()}
# Compact recordings: losses below the noise of the simulated sensors.
_JPEG_QUALITY = 80
_RADAR_BITS = 6          # significant bits of a magnitude: steps of 1.6 to 3 %
_AUDIO_STEP = 64         # of int16: 10 bits per sample

Messages = tuple[tuple[str, str, make.Message], ...]


@dataclass(frozen=True)
class Tick:
    """One measurement of a stream.

    Attributes:
        record_ns: arrival of its messages, in nanoseconds after the start.
        t_s: time of the measurement, in seconds after the start.
        index: number of the measurement in its stream.
        stream: stream that measures.
    """

    record_ns: int
    t_s: float
    index: int
    stream: Stream

    @property
    def order(self) -> tuple[int, str]:
        """Sort key: arrival, then the stream's name, so that ties always break the same way."""
        return self.record_ns, self.stream.name

    def stamp_ns(self, start_ns: int) -> int:
        """Return the header stamp."""
        return start_ns + round(self.t_s * 1e9)


class Stream:
    """A sensor that measures at a fixed rate, with its own phase, jitter and latency.

    Args:
        name: unique name, for the order of ties.
        number: number of its noise generator.
        seed: seed of timing and noise.
        rate_hz: measurements per second.
        jitter_s: standard deviation of the measurement times around an even beat, in seconds.
        latency_s: shortest time from measurement to arrival, in seconds.
    """

    def __init__(self, name: str, number: int, seed: int, rate_hz: float, jitter_s: float, latency_s: float) -> None:
        self.name, self._seed, self._number = name, seed, number
        self._rate_hz, self._jitter_s, self._latency_s = rate_hz, jitter_s, latency_s

    def ticks(self, seconds: float) -> Iterator[Tick]:
        """Yield the measurements of a recording in order of arrival."""
        rng = self.rng(-1)
        phase = rng.uniform(0, 1 / self._rate_hz)
        times = phase + np.arange(int((seconds - phase) * self._rate_hz) + 1) / self._rate_hz
        # Jitter is clipped far below half a period, so that stamps never go back.
        jitter = np.clip(rng.normal(0, self._jitter_s, len(times)), -3 * self._jitter_s, 3 * self._jitter_s)
        late = self._latency_s * (1 + 0.3 * np.abs(rng.standard_normal(len(times))).clip(0, 3))
        for index, (t, after) in enumerate(zip(np.maximum(times + jitter, 0), late, strict=True)):
            if t < seconds:
                yield Tick(round((t + after) * 1e9), float(t), index, self)

    def rng(self, index: int) -> np.random.Generator:
        """Return the noise generator of one measurement, independent of all others."""
        return np.random.default_rng([self._seed, 4, self._number, index + 1])

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """Return the (topic, type, message) triples of one tick."""
        raise NotImplementedError


class CameraStream(Stream):
    """RGB or depth camera of a node: images, damaged while an event lasts, and their calibration.

    Compact: JPEG on `<topic>/compressed`, PNG of millimetres on `<topic>/compressedDepth`.
    """

    def __init__(self, world: World, node: int, modality: Modality, number: int, events: tuple[Event, ...],
                 compact: bool = False) -> None:
        name = world.scene.nodes[node].name
        super().__init__(f"{name}/{modality}", number, world.seed, CAMERA_HZ, 0.0015, 0.008)
        self._world, self._node, self._modality, self._events = world, node, modality, events
        self._compact, self._frame = compact, f"{name}_{modality}_optical"
        self._image_topic, self._info_topic = f"/{name}/{modality}/image_raw", f"/{name}/{modality}/camera_info"

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """Return image and camera_info."""
        stamp_ns, world = tick.stamp_ns(start_ns), self._world
        rgb = self._modality is Modality.RGB
        picture = self._damaged((world.rgb if rgb else world.depth)(self._node, tick.t_s, tick.index), tick)
        camera = world.renderer.camera(self._node, str(self._modality))
        info = make.camera_info(camera.matrix, camera.width, camera.height, stamp_ns, self._frame)
        return self._image(picture, stamp_ns), (self._info_topic, make.CAMERA_INFO, info)

    def _image(self, picture: Array, stamp_ns: int) -> tuple[str, str, make.Message]:
        if self._modality is Modality.RGB:
            rgb = picture.astype(np.uint8, copy=False)
            if self._compact:
                return (f"{self._image_topic}/compressed", make.COMPRESSED_IMAGE,
                        make.compressed_rgb_image(rgb, stamp_ns, self._frame, quality=_JPEG_QUALITY))
            return self._image_topic, make.IMAGE, make.rgb_image(rgb, stamp_ns, self._frame)
        depth_m = picture.astype(np.float32, copy=False)
        if self._compact:
            return (f"{self._image_topic}/compressedDepth", make.COMPRESSED_IMAGE,
                    make.compressed_depth_image(depth_m, stamp_ns, self._frame))
        return self._image_topic, make.IMAGE, make.depth_image(depth_m, stamp_ns, self._frame)

    def _damaged(self, picture: Array, tick: Tick) -> Array:
        for event in self._events:
            if event.kind in _DAMAGE and event.applies(self._image_topic, tick.t_s):
                picture = _DAMAGE[event.kind].apply(picture, 1.0, self.rng(tick.index))
        return picture


class RadarStream(Stream):
    """Radar of a node: range-azimuth and range-Doppler heatmaps, and points.

    Compact: the range-azimuth heatmap alone, its magnitudes rounded to 6 significant bits.
    """

    def __init__(self, world: World, node: int, number: int, compact: bool = False) -> None:
        name = world.scene.nodes[node].name
        super().__init__(f"{name}/radar", number, world.seed, RADAR_HZ, 0.002, 0.020)
        self._world, self._node, self._compact = world, node, compact
        self._topic, self._frame = f"/{name}/radar", f"{name}_radar"

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """Return the messages of one frame."""
        reading = self._world.radar(self._node, tick.t_s, tick.index)
        stamp_ns, frame = tick.stamp_ns(start_ns), self._frame
        # As many rows as in a dataset of this quality, so that one network fits both.
        kept = reading.range_azimuth[:self._world.quality.radar_rows]
        topic = f"{self._topic}/range_azimuth"
        if self._compact:
            mantissa, exponent = np.frexp(kept)
            rounded = np.ldexp(np.rint(mantissa * 2**_RADAR_BITS) / 2**_RADAR_BITS, exponent).astype(np.float32)
            return ((topic, make.IMAGE, make.radar_image(rounded, stamp_ns, frame)),)
        points = make.point_cloud(reading.points, POINT_FIELDS, stamp_ns, frame)
        return (
            (topic, make.IMAGE, make.radar_image(kept, stamp_ns, frame)),
            (f"{self._topic}/range_doppler", make.IMAGE, make.radar_image(reading.range_doppler, stamp_ns, frame)),
            (f"{self._topic}/points", make.POINT_CLOUD, points),
        )


class MicrophoneStream(Stream):
    """Microphone array of a node. The samples' clock is steady, so only the arrival jitters.

    Compact: samples rounded to 10 bits.
    """

    def __init__(self, world: World, node: int, number: int, compact: bool = False) -> None:
        name = world.scene.nodes[node].name
        super().__init__(f"{name}/audio", number, world.seed, SAMPLE_RATE_HZ / CHUNK, 0.0, 0.005)
        self._world, self._node, self._compact = world, node, compact
        self._topic, self._frame = f"/{name}/audio", f"{name}_microphones"

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """Return one chunk; its stamp is that of the last sample."""
        start_s = tick.t_s - (CHUNK - 1) / SAMPLE_RATE_HZ
        chunk = self._world.audio(self._node, start_s, CHUNK, tick.index)
        if self._compact:
            chunk = np.rint(chunk * (32768 / _AUDIO_STEP)) * np.float32(_AUDIO_STEP / 32768)
        frame = make.audio_frame(chunk, SAMPLE_RATE_HZ, tick.stamp_ns(start_ns), self._frame)
        return ((self._topic, make.AUDIO_FRAME, frame),)


class GroundTruthStream(Stream):
    """Motion capture of the car: the pose of its middle in `map`."""

    def __init__(self, drive: Drive) -> None:
        super().__init__("truth", 0, drive.seed, TRUTH_HZ, 0.0002, 0.003)
        self._drive = drive

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """Return the car's pose."""
        car = self._drive.at(tick.t_s)
        quaternion = make.quaternion_of(rotation_z(float(car.heading_rad)))
        position = (*car.position_m.tolist(), CAR_CENTRE_Z_M)
        return ((TRUTH_TOPIC, make.POSE, make.pose_stamped(position, quaternion, tick.stamp_ns(start_ns), "map")),)


class TemperatureStream(Stream):
    """Temperature of the computer, which warms up under load and cools down."""

    def __init__(self, seed: int) -> None:
        super().__init__("temperature", 0, seed, TEMPERATURE_HZ, 0.0, 0.001)

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """Return one reading: from 55 to 85 degrees Celsius and back every 40 s."""
        celsius = 70.0 - 15.0 * float(np.cos(2 * np.pi * tick.t_s / 40)) + float(self.rng(tick.index).normal(0, 0.2))
        return ((TEMPERATURE_TOPIC, make.TEMPERATURE,
                 make.temperature(celsius, tick.stamp_ns(start_ns), "computer", variance=0.04)),)


class TransformStream(Stream):
    """Poses of nodes and sensors, and OptiTrack's frame, which GDTM's labels use; once at the start."""

    def __init__(self, nodes: Sequence[SensorNode]) -> None:
        super().__init__("", 0, 0, 1.0, 0.0, 0.0)
        self._nodes = nodes

    def ticks(self, seconds: float) -> Iterator[Tick]:
        """Yield one tick, at the start."""
        yield Tick(0, 0.0, 0, self)

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """Return all transforms in one message."""
        transforms = []
        for node in self._nodes:
            base = f"{node.name}_base"
            for parent, child, pose in [("map", base, node.base)] + [
                    (base, f"{node.name}_{suffix}", pose) for suffix, pose in node.sensors.items()]:
                x, y, z = pose.translation_m.tolist()
                transforms.append(make.Transform(parent, child, (x, y, z), make.quaternion_of(pose.rotation)))
        transforms.append(make.Transform("map", OPTITRACK, (0.0, 0.0, 0.0),
                                         make.quaternion_of(_FROM_OPTITRACK.rotation)))
        return (("/tf_static", make.TF, make.static_transforms(transforms, tick.stamp_ns(start_ns))),)


class BudgetStream(Stream):
    """A power manager that changes the budget at fixed times: (seconds after the start, layers)."""

    def __init__(self, budgets: Sequence[tuple[float, float]]) -> None:
        super().__init__("budget", 0, 0, 1.0, 0.0, 0.0)
        self._budgets = budgets

    def ticks(self, seconds: float) -> Iterator[Tick]:
        """Yield one tick at each change."""
        for index, (t, _) in enumerate(self._budgets):
            yield Tick(round(t * 1e9), t, index, self)

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """Return one budget."""
        message = make.compute_budget(self._budgets[tick.index][1], "layers", tick.stamp_ns(start_ns), source="demo")
        return ((BUDGET_TOPIC, make.COMPUTE_BUDGET, message),)


def world_streams(world: World, events: tuple[Event, ...] = (), compact: bool = False) -> list[Stream]:
    """Return the streams of a world: sensors, calibration, temperature and, if there is a car, ground truth."""
    streams: list[Stream] = [] if world.scene.target == "none" else [GroundTruthStream(world.drive)]
    for k in range(len(world.scene.nodes)):
        first = 1 + 4 * k
        streams += [CameraStream(world, k, Modality.RGB, first, events, compact),
                    CameraStream(world, k, Modality.DEPTH, first + 1, events, compact),
                    RadarStream(world, k, first + 2, compact), MicrophoneStream(world, k, first + 3, compact)]
    return [*streams, TemperatureStream(world.seed), TransformStream(world.scene.nodes)]


def world_topics(nodes: int) -> dict[str, str]:
    """Return the topics of `world_streams` and their types, for a number of sensor nodes."""
    topics = {"/tf_static": make.TF, TRUTH_TOPIC: make.POSE, TEMPERATURE_TOPIC: make.TEMPERATURE}
    for k in range(1, nodes + 1):
        for camera in ("rgb", "depth"):
            topics |= {f"/node{k}/{camera}/image_raw": make.IMAGE, f"/node{k}/{camera}/camera_info": make.CAMERA_INFO}
        topics |= {f"/node{k}/radar/{name}": make.IMAGE for name in ("range_azimuth", "range_doppler")}
        topics |= {f"/node{k}/radar/points": make.POINT_CLOUD, f"/node{k}/audio": make.AUDIO_FRAME}
    return topics


def play(streams: Sequence[Stream], seconds: float, events: tuple[Event, ...] = (),
         start_ns: int = START_NS) -> Iterator[tuple[int, Messages]]:
    """Measure the streams in order of arrival.

    Args:
        streams: streams of one world.
        seconds: length.
        events: events that silence topics.
        start_ns: stamp of the start.

    Yields:
        Record stamp in nanoseconds, and the messages that arrive then without the silenced ones.
    """
    for tick in heapq.merge(*(stream.ticks(seconds) for stream in streams), key=lambda tick: tick.order):
        messages = tick.stream.measure(tick, start_ns)
        yield start_ns + tick.record_ns, tuple(
            (topic, kind, message) for topic, kind, message in messages
            if not any(event.silences(topic, tick.t_s) for event in events))
