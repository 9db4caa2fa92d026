# SPDX-License-Identifier: Apache-2.0
"""What each sensor of the demo recording delivers, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from admn_ros.recordings import bag_messages as make
from admn_ros.simulation.events import SILENCING, Event
from admn_ros.simulation.plain import acoustics
from admn_ros.simulation.plain.cameras import Camera, View, expose, grazing_cosine, measure_depth
from admn_ros.simulation.plain.radar import Radar
from admn_ros.simulation.scene.driving import Drive
from admn_ros.simulation.scene.geometry import CAR_CENTRE_Z_M, Motion, SensorNode, rotation_z

RGB_SIZE, RGB_FOCAL_PX = (320, 240), 228.0
DEPTH_SIZE, DEPTH_FOCAL_PX = (160, 120), 114.0
CAMERA_HZ, RADAR_HZ, TRUTH_HZ = 15.0, 4.0, 60.0
BUDGET_TOPIC, TRUTH_TOPIC = "/admn/budget", "/ground_truth/pose"

Messages = tuple[tuple[str, str, make.Message], ...]


@dataclass(frozen=True)
class Tick:
    """One measurement: at t_s after the start; its messages reach the recorder at record_ns."""

    record_ns: int
    t_s: float
    index: int
    stream: Stream

    @property
    def order(self) -> tuple[int, str]:
        """Sort key: arrival, then name, so that ties are broken the same way always."""
        return self.record_ns, self.stream.name

    def stamp_ns(self, start_ns: int) -> int:
        """Header stamp."""
        return start_ns + round(self.t_s * 1e9)


class Stream:
    """A sensor: ticks at a rate with its own phase, jitter and latency (seconds)."""

    def __init__(self, name: str, number: int, seed: int, rate_hz: float, jitter_s: float, latency_s: float) -> None:
        self.name, self._seed, self._number = name, seed, number
        self._rate_hz, self._jitter_s, self._latency_s = rate_hz, jitter_s, latency_s

    def ticks(self, seconds: float) -> Iterator[Tick]:
        """All measurements of a recording."""
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
        """Noise of one measurement: it does not depend on what else is recorded."""
        return np.random.default_rng([self._seed, 4, self._number, index + 1])

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """Messages of one tick: (topic, type, message)."""
        raise NotImplementedError


class Images(Stream):
    """RGB or depth camera of a node."""

    def __init__(self, node: SensorNode, what: str, number: int, seed: int, motion: Motion, colour: str,
                 events: tuple[Event, ...]) -> None:
        super().__init__(f"{node.name}/{what}", number, seed, CAMERA_HZ, 0.0015, 0.008)
        (width, height), focal = (RGB_SIZE, RGB_FOCAL_PX) if what == "rgb" else (DEPTH_SIZE, DEPTH_FOCAL_PX)
        camera = Camera(node.sensor(f"{what}_optical"), width, height, focal)
        self._view = View(camera, node.name, fine=2 if what == "rgb" else 1)
        self._cosine = grazing_cosine(self._view)
        self._what, self._motion, self._colour, self._events = what, motion, colour, events
        self._image_topic, self._info_topic = f"/{node.name}/{what}/image_raw", f"/{node.name}/{what}/camera_info"
        self._frame = f"{node.name}_{what}_optical"

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """Image and camera_info, troubled by an event or not."""
        cast = self._view.cast(self._motion.at(tick.t_s), self._colour)
        troubled = any(e.kind not in SILENCING and e.holds(self._image_topic, tick.t_s) for e in self._events)
        stamp_ns, rng = tick.stamp_ns(start_ns), self.rng(tick.index)
        if self._what == "rgb":
            image = make.rgb_image(expose(cast.light(), rng, troubled), stamp_ns, self._frame)
        else:
            depth = measure_depth(cast.depth(), self._cosine, rng, troubled)
            image = make.depth_image(depth, stamp_ns, self._frame)
        camera = self._view.camera
        info = make.camera_info(camera.matrix, camera.width, camera.height, stamp_ns, self._frame)
        return (self._image_topic, make.IMAGE, image), (self._info_topic, make.CAMERA_INFO, info)


class RadarMaps(Stream):
    """Radar of a node."""

    def __init__(self, node: SensorNode, number: int, seed: int, motion: Motion) -> None:
        super().__init__(f"{node.name}/radar", number, seed, RADAR_HZ, 0.002, 0.020)
        self._radar, self._motion = Radar(node.sensor("radar"), node.name), motion
        self._topic, self._frame = f"/{node.name}/radar/range_azimuth", f"{node.name}_radar"

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """One heatmap."""
        heatmap = self._radar.heatmap(self._motion.at(tick.t_s), self.rng(tick.index))
        return (self._topic, make.IMAGE, make.radar_image(heatmap, tick.stamp_ns(start_ns), self._frame)),


class Sound(Stream):
    """Microphones of a node. The samples' clock is steady, so only the arrival jitters."""

    def __init__(self, node: SensorNode, number: int, seed: int, motion: Motion, seconds: float) -> None:
        super().__init__(f"{node.name}/audio", number, seed, acoustics.SAMPLE_RATE_HZ / acoustics.CHUNK, 0.0, 0.005)
        self._topic, self._frame = f"/{node.name}/audio", f"{node.name}_microphones"
        ticks = list(self.ticks(seconds))
        # The stamp belongs to the last sample, so a chunk begins a chunk less one sample earlier.
        start_s = ticks[0].t_s - (acoustics.CHUNK - 1) / acoustics.SAMPLE_RATE_HZ
        self._samples: npt.NDArray[np.float32] = acoustics.record_sound(
            node.sensor("microphones"), motion, start_s, len(ticks) * acoustics.CHUNK, seed)

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """One chunk of samples."""
        chunk = self._samples[tick.index * acoustics.CHUNK:(tick.index + 1) * acoustics.CHUNK]
        frame = make.audio_frame(chunk, acoustics.SAMPLE_RATE_HZ, tick.stamp_ns(start_ns), self._frame)
        return (self._topic, make.AUDIO_FRAME, frame),


class Truth(Stream):
    """Motion capture of the car."""

    def __init__(self, number: int, seed: int, motion: Motion | Drive) -> None:
        super().__init__("truth", number, seed, TRUTH_HZ, 0.0002, 0.003)
        self._motion = motion

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """The car's pose."""
        car = self._motion.at(tick.t_s)
        quaternion = make.quaternion_of(rotation_z(float(car.heading_rad)))
        position = (*car.position_m.tolist(), CAR_CENTRE_Z_M)
        return (TRUTH_TOPIC, make.POSE, make.pose_stamped(position, quaternion, tick.stamp_ns(start_ns), "map")),


class Transforms(Stream):
    """Where nodes and sensors stand, once at the start."""

    def __init__(self, nodes: list[SensorNode]) -> None:
        super().__init__("", 0, 0, 1.0, 0.0, 0.0)
        self._nodes = nodes

    def ticks(self, seconds: float) -> Iterator[Tick]:
        """Once, at the start."""
        yield Tick(0, 0.0, 0, self)

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """All transforms in one message."""
        transforms = []
        for node in self._nodes:
            base = f"{node.name}_base"
            for parent, child, pose in [("map", base, node.base)] + [
                    (base, f"{node.name}_{suffix}", pose) for suffix, pose in node.sensors.items()]:
                x, y, z = pose.translation_m.tolist()
                transforms.append(make.Transform(parent, child, (x, y, z), make.quaternion_of(pose.rotation)))
        return ("/tf_static", make.TF, make.static_transforms(transforms, tick.stamp_ns(start_ns))),


class Budgets(Stream):
    """A power manager that changes its mind at fixed times."""

    def __init__(self, budgets: tuple[tuple[float, float], ...]) -> None:
        super().__init__("budget", 0, 0, 1.0, 0.0, 0.0)
        self._budgets = budgets

    def ticks(self, seconds: float) -> Iterator[Tick]:
        """At each change."""
        for index, (t, _) in enumerate(self._budgets):
            yield Tick(round(t * 1e9), t, index, self)

    def measure(self, tick: Tick, start_ns: int) -> Messages:
        """One budget."""
        message = make.compute_budget(self._budgets[tick.index][1], "layers", tick.stamp_ns(start_ns), source="demo")
        return (BUDGET_TOPIC, make.COMPUTE_BUDGET, message),


def sensor_streams(nodes: list[SensorNode], motion: Motion, car: str, seed: int, seconds: float,
                   events: tuple[Event, ...]) -> list[Stream]:
    """Ground truth and the four sensors of each node."""
    streams: list[Stream] = [Truth(0, seed, motion)]
    for k, node in enumerate(nodes):
        first = 1 + 4 * k
        streams.append(Images(node, "rgb", first, seed, motion, car, events))
        streams.append(Images(node, "depth", first + 1, seed, motion, car, events))
        streams.append(RadarMaps(node, first + 2, seed, motion))
        streams.append(Sound(node, first + 3, seed, motion, seconds))
    return streams
