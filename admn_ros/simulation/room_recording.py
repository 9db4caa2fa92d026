# SPDX-License-Identifier: Apache-2.0
"""Streams of a simulated world, and bags of them: sensors, calibration, ground truth, budget and temperature."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from admn_ros.errors import InputError
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bags import BagWriter
from admn_ros.sample import Array, Modality
from admn_ros.sensing.corruption.vision import DepthSaturation, LowLight
from admn_ros.simulation.events import Event, demo_events
from admn_ros.simulation.plain.recording import BUDGET_EVERY_S, BUDGET_LAYERS, NOTE, START_NS, Recording, write_streams
from admn_ros.simulation.plain.streams import (
    CAMERA_HZ,
    RADAR_HZ,
    TRUTH_TOPIC,
    Budgets,
    Messages,
    Stream,
    Tick,
    Transforms,
    Truth,
)
from admn_ros.simulation.scene.geometry import Pose
from admn_ros.simulation.world import World

POINT_FIELDS = ("x", "y", "z", "velocity", "snr_db")
CHUNK = 1056             # samples of 66 ms, as GDTM's
SAMPLE_RATE_HZ = 16000
TEMPERATURE_TOPIC = "/temperature"
OPTITRACK = "optitrack"
# OptiTrack has y up: its (x, y, z) is (x, -z, y) in `map`.
_FROM_OPTITRACK = Pose(np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]), np.zeros(3))
_TROUBLE = {"lights_out": LowLight(), "depth_saturated": DepthSaturation()}

Progress = Callable[[int, int], None]


class Pictures(Stream):
    """RGB or depth camera of a node."""

    def __init__(self, world: World, node: int, what: Modality, number: int, events: tuple[Event, ...]) -> None:
        name = world.scene.nodes[node].name
        super().__init__(f"{name}/{what}", number, world.seed, CAMERA_HZ, 0.0015, 0.008)
        self._world, self._node, self._what, self._events = world, node, what, events
        self._image_topic, self._info_topic = f"/{name}/{what}/image_raw", f"/{name}/{what}/camera_info"
        self._frame = f"{name}_{what}_optical"

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """Image and camera_info, troubled by an event or not."""
        stamp_ns, world = tick.stamp_ns(start_ns), self._world
        if self._what is Modality.RGB:
            image = make.rgb_image(self._troubled(world.rgb(self._node, tick.t_s, tick.index), tick),  # type: ignore[arg-type]
                                   stamp_ns, self._frame)
        else:
            image = make.depth_image(self._troubled(world.depth(self._node, tick.t_s, tick.index), tick),  # type: ignore[arg-type]
                                     stamp_ns, self._frame)
        camera = world.renderer.camera(self._node, str(self._what))
        info = make.camera_info(camera.matrix, camera.width, camera.height, stamp_ns, self._frame)
        return (self._image_topic, make.IMAGE, image), (self._info_topic, make.CAMERA_INFO, info)

    def _troubled(self, picture: Array, tick: Tick) -> Array:
        for event in self._events:
            if event.kind in _TROUBLE and event.holds(self._image_topic, tick.t_s):
                picture = _TROUBLE[event.kind].apply(picture, 1.0, self.rng(tick.index))
        return picture


class RadarFrames(Stream):
    """Radar of a node: range-azimuth and range-Doppler heatmaps, and points."""

    def __init__(self, world: World, node: int, number: int) -> None:
        name = world.scene.nodes[node].name
        super().__init__(f"{name}/radar", number, world.seed, RADAR_HZ, 0.002, 0.020)
        self._world, self._node, self._topic, self._frame = world, node, f"/{name}/radar", f"{name}_radar"

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """Three messages of one frame."""
        reading = self._world.radar(self._node, tick.t_s, tick.index)
        stamp_ns, frame = tick.stamp_ns(start_ns), self._frame
        points = make.point_cloud(reading.points, POINT_FIELDS, stamp_ns, frame)
        # As in a dataset of this quality: a network that was trained on the one must know the other.
        kept = reading.range_azimuth[:self._world.quality.radar_rows]
        return (
            (f"{self._topic}/range_azimuth", make.IMAGE, make.radar_image(kept, stamp_ns, frame)),
            (f"{self._topic}/range_doppler", make.IMAGE, make.radar_image(reading.range_doppler, stamp_ns, frame)),
            (f"{self._topic}/points", make.POINT_CLOUD, points),
        )


class Sounds(Stream):
    """Microphones of a node. The samples' clock is steady, so only the arrival jitters."""

    def __init__(self, world: World, node: int, number: int) -> None:
        name = world.scene.nodes[node].name
        super().__init__(f"{name}/audio", number, world.seed, SAMPLE_RATE_HZ / CHUNK, 0.0, 0.005)
        self._world, self._node, self._topic, self._frame = world, node, f"/{name}/audio", f"{name}_microphones"

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """One chunk; its stamp is that of the last sample."""
        start_s = tick.t_s - (CHUNK - 1) / SAMPLE_RATE_HZ
        chunk = self._world.audio(self._node, start_s, CHUNK, tick.index)
        frame = make.audio_frame(chunk, SAMPLE_RATE_HZ, tick.stamp_ns(start_ns), self._frame)
        return (self._topic, make.AUDIO_FRAME, frame),


class Temperatures(Stream):
    """The computer's temperature: it warms up under load and cools down, once a second."""

    def __init__(self, seed: int) -> None:
        super().__init__("temperature", 0, seed, 1.0, 0.0, 0.001)

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """One reading: from 55 to 85 degrees Celsius and back every 40 s."""
        celsius = 70.0 - 15.0 * float(np.cos(2 * np.pi * tick.t_s / 40)) + float(self.rng(tick.index).normal(0, 0.2))
        return (TEMPERATURE_TOPIC, make.TEMPERATURE,
                make.temperature(celsius, tick.stamp_ns(start_ns), "computer", variance=0.04)),


class Calibration(Transforms):
    """Sensor poses, and OptiTrack's frame, in which GDTM's labels are."""

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """All transforms in one message."""
        ((topic, kind, message),) = super().measure(tick, start_ns)
        optitrack = make.Transform("map", OPTITRACK, (0.0, 0.0, 0.0), make.quaternion_of(_FROM_OPTITRACK.rotation))
        message.transforms.extend(make.static_transforms([optitrack], tick.stamp_ns(start_ns)).transforms)
        return (topic, kind, message),


def room_streams(world: World, events: tuple[Event, ...] = ()) -> list[Stream]:
    """Every sensor of a world, its ground truth and its temperature."""
    streams: list[Stream] = [] if world.scene.target == "none" else [Truth(0, world.seed, world.drive)]
    for k in range(len(world.scene.nodes)):
        first = 1 + 4 * k
        streams += [Pictures(world, k, Modality.RGB, first, events),
                    Pictures(world, k, Modality.DEPTH, first + 1, events),
                    RadarFrames(world, k, first + 2), Sounds(world, k, first + 3)]
    return [*streams, Temperatures(world.seed)]


def room_topics(nodes: int) -> dict[str, str]:
    """Topics of `room_streams` and `Calibration`, and their types."""
    topics = {"/tf_static": make.TF, TRUTH_TOPIC: make.POSE, TEMPERATURE_TOPIC: make.TEMPERATURE}
    for k in range(1, nodes + 1):
        for what in ("rgb", "depth"):
            topics |= {f"/node{k}/{what}/image_raw": make.IMAGE, f"/node{k}/{what}/camera_info": make.CAMERA_INFO}
        topics |= {f"/node{k}/radar/{name}": make.IMAGE for name in ("range_azimuth", "range_doppler")}
        topics |= {f"/node{k}/radar/points": make.POINT_CLOUD, f"/node{k}/audio": make.AUDIO_FRAME}
    return topics


def record_room(out: Path, world: World, seconds: float, *, storage: str = "mcap", events: bool = True,
                start_ns: int = START_NS, progress: Progress | None = None) -> Recording:
    """Write a bag of a world, with the topics of `recording.record` and more.

    For each node also `/<node>/radar/range_doppler` and `/<node>/radar/points` (PointCloud2); besides
    `/temperature`. Without a car there is no `/ground_truth/pose`.

    Raises:
        InputError: seconds is out of range, or `out` exists or cannot be written.
    """
    if not 0.5 <= seconds <= 3600:
        raise InputError("seconds", seconds, "0.5 to 3600")
    mishaps = demo_events(seconds, [n.name for n in world.scene.nodes]) if events else ()
    budgets = tuple((BUDGET_EVERY_S * i, float(BUDGET_LAYERS[i % len(BUDGET_LAYERS)]))
                    for i in range(int(np.ceil(seconds / BUDGET_EVERY_S))))
    result = Recording(Path(out), seconds, world.seed, world.scene.target, mishaps, budgets)
    streams = [*room_streams(world, mishaps), Calibration(list(world.scene.nodes)), Budgets(budgets)]
    with BagWriter(out, storage, compress=storage == "mcap") as bag:
        bag.add_topic("/tf_static", make.TF, latched=True)
        bag.note({NOTE: json.dumps({"seed": world.seed, "target": world.scene.target, "seconds": seconds,
                                    "events": [asdict(e) for e in mishaps]})})
        write_streams(bag, streams, result, start_ns, progress)
    result.size_bytes = sum(p.stat().st_size for p in result.path.iterdir())
    return result
