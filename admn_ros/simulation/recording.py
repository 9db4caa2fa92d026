# SPDX-License-Identifier: Apache-2.0
"""Records the demo scene into a bag: three nodes with four sensors each, ground truth, budgets, mishaps.

Sensors are not synchronous: each has its own phase, its clock's jitter, and a latency between the stamp
in the header (when it measured) and the record stamp (when the message came). The same arguments give
the same messages, bit for bit, and with the same folder name the same files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from admn_ros.datasets import bag_messages as make
from admn_ros.datasets.bags import BagWriter
from admn_ros.errors import InputError
from admn_ros.simulation import acoustics
from admn_ros.simulation.cameras import Camera, View, expose, grazing_cosine, measure_depth
from admn_ros.simulation.moving_target import (
    CAR_CENTRE_Z_M,
    CAR_COLOURS,
    Motion,
    SensorNode,
    rotation_z,
    sensor_nodes,
)
from admn_ros.simulation.radar import Radar

RGB_SIZE, RGB_FOCAL_PX = (320, 240), 228.0
DEPTH_SIZE, DEPTH_FOCAL_PX = (160, 120), 114.0
CAMERA_HZ, RADAR_HZ, TRUTH_HZ = 15.0, 4.0, 60.0
BUDGET_LAYERS = (48, 24, 12, 6, 2, 24, 12, 48)
BUDGET_EVERY_S = 1.5
BUDGET_TOPIC, TRUTH_TOPIC = "/admn/budget", "/ground_truth/pose"
NOTE = "admn_recording"
START_NS = 1_700_000_000_000_000_000

Progress = Callable[[int, int], None]
Arrays = tuple[tuple[str, str, make.Message], ...]


@dataclass(frozen=True)
class Event:
    """A mishap in the recording, from start_s to end_s after its start.

    kind: lights_out, depth_saturated, topic_dead or radar_missing.
    topics: what it touches.
    """

    kind: str
    start_s: float
    end_s: float
    topics: tuple[str, ...]
    description: str

    def holds(self, topic: str, t_s: float) -> bool:
        """Whether it touches what a topic measured at a time."""
        return topic in self.topics and self.start_s <= t_s < self.end_s


@dataclass
class Recording:
    """What was recorded. budgets: (seconds after the start, layers)."""

    path: Path
    seconds: float
    seed: int
    car: str
    events: tuple[Event, ...]
    budgets: tuple[tuple[float, float], ...]
    messages: dict[str, int] = field(default_factory=dict)
    size_bytes: int = 0

    def describe(self) -> str:
        """The recording in a few lines for people."""
        lines = [f"{self.path}: {self.seconds:g} s, {self.car} car, seed {self.seed}, "
                 f"{sum(self.messages.values())} messages, {self.size_bytes / 1e6:.0f} MB"]
        lines += [f"  {e.start_s:5.1f} to {e.end_s:4.1f} s  {e.description}" for e in self.events]
        lines.append("  budget in layers: " + ", ".join(f"{v:g} at {t:g} s" for t, v in self.budgets))
        return "\n".join(lines)


def record(out: str | Path, *, seconds: float = 12.0, seed: int = 7, storage: str = "mcap", nodes: int = 3,
           car: str = "red", events: bool | Sequence[Event] = True, start_ns: int = START_NS,
           progress: Progress | None = None) -> Recording:
    """Write the demo recording.

    Topics for each node: `/node<k>/rgb/image_raw` (rgb8 320x240), `/node<k>/depth/image_raw` (32FC1 m,
    160x120), both at 15 Hz with `camera_info` beside them, `/node<k>/radar/range_azimuth` (32FC1, 4 Hz,
    `radar.Radar`) and `/node<k>/audio` (AudioFrame, 4 microphones, 66 ms). Besides `/ground_truth/pose`
    (the car's middle in `map`, 60 Hz), `/tf_static` (latched) and `/admn/budget` (ComputeBudget, layers).
    mcap is compressed with zstd; sqlite3 is not and is larger.

    Args:
        out: bag folder to create; must not exist.
        seconds: length, 0.5 to 600.
        seed: of motion, timing and noise.
        storage: "mcap" or "sqlite3".
        nodes: sensor nodes, 1 to 3.
        car: "red" or "green".
        events: True for the mishaps of `demo_events`, False for none, or mishaps of your own.
        start_ns: stamp of the start.
        progress: called with (messages written, messages in all) now and then.

    Raises:
        InputError: an argument is out of range, or `out` exists.
    """
    if not 0.5 <= seconds <= 600:
        raise InputError("seconds", seconds, "0.5 to 600")
    if car not in CAR_COLOURS:
        raise InputError("car", repr(car), " or ".join(CAR_COLOURS))
    if not 0 <= seed < 2**32:
        raise InputError("seed", seed, "[0, 2^32)")
    stations = sensor_nodes(nodes)
    if isinstance(events, bool):
        mishaps = demo_events(seconds, [n.name for n in stations]) if events else ()
    else:
        mishaps = tuple(events)
    budgets = tuple((BUDGET_EVERY_S * i, float(BUDGET_LAYERS[i % len(BUDGET_LAYERS)]))
                    for i in range(int(np.ceil(seconds / BUDGET_EVERY_S))))
    result = Recording(Path(out), seconds, seed, car, mishaps, budgets)
    with BagWriter(out, storage, compress=storage == "mcap") as bag:
        bag.add_topic("/tf_static", make.TF, latched=True)
        bag.note({NOTE: json.dumps({"seed": seed, "car": car, "seconds": seconds,
                                    "events": [asdict(e) for e in mishaps]})})
        streams = _streams(stations, Motion.seeded(seed), car, seed, seconds, mishaps)
        streams += [_Transforms(stations), _Budgets(budgets)]
        schedule = sorted((tick for stream in streams for tick in stream.ticks(seconds)), key=lambda tick: tick.order)
        for done, tick in enumerate(schedule, start=1):
            for topic, kind, message in tick.stream.measure(tick, start_ns):
                if any(e.kind in _SILENCING and e.holds(topic, tick.t_s) for e in mishaps):
                    continue
                bag.write(topic, kind, message, start_ns + tick.record_ns)
                result.messages[topic] = result.messages.get(topic, 0) + 1
            if progress is not None and (done % 50 == 0 or done == len(schedule)):
                progress(done, len(schedule))
    result.size_bytes = sum(p.stat().st_size for p in result.path.iterdir())
    return result


def demo_events(seconds: float, nodes: list[str]) -> tuple[Event, ...]:
    """The mishaps, at fixed times, as far as they begin within `seconds` and touch one of the nodes."""
    def topics(of: list[str], name: str) -> tuple[str, ...]:
        return tuple(f"/{node}/{name}" for node in of if node in nodes)

    every = list(nodes)
    planned = (
        Event("lights_out", 2.0, 4.0, topics(every, "rgb/image_raw"), "lights out: RGB of all nodes dark and noisy"),
        Event("depth_saturated", 5.0, 6.5, topics(every, "depth/image_raw"),
              "depth of all nodes saturated by infrared light"),
        Event("topic_dead", 7.0, 9.0, topics(["node2"], "rgb/image_raw"), "/node2/rgb/image_raw dead"),
        Event("radar_missing", 9.5, 11.0, topics(every, "radar/range_azimuth"), "radar of all nodes missing"),
    )
    return tuple(e for e in planned if e.start_s < seconds and e.topics)


# --- streams: what comes when ------------------------------------------------------------------------

_SILENCING = ("topic_dead", "radar_missing")


@dataclass(frozen=True)
class _Tick:
    """One measurement: at t_s after the start; its messages reach the recorder at record_ns."""

    record_ns: int
    t_s: float
    index: int
    stream: _Stream

    @property
    def order(self) -> tuple[int, str]:
        return self.record_ns, self.stream.name

    def stamp_ns(self, start_ns: int) -> int:
        """Header stamp."""
        return start_ns + round(self.t_s * 1e9)


class _Stream:
    """A sensor: ticks at a rate with its own phase, jitter and latency (seconds)."""

    def __init__(self, name: str, number: int, seed: int, rate_hz: float, jitter_s: float, latency_s: float) -> None:
        self.name, self._seed, self._number = name, seed, number
        self._rate_hz, self._jitter_s, self._latency_s = rate_hz, jitter_s, latency_s

    def ticks(self, seconds: float) -> Iterator[_Tick]:
        """All measurements of a recording."""
        rng = self.rng(-1)
        phase = rng.uniform(0, 1 / self._rate_hz)
        times = phase + np.arange(int((seconds - phase) * self._rate_hz) + 1) / self._rate_hz
        # Jitter is clipped far below half a period, so that stamps never go back.
        jitter = np.clip(rng.normal(0, self._jitter_s, len(times)), -3 * self._jitter_s, 3 * self._jitter_s)
        late = self._latency_s * (1 + 0.3 * np.abs(rng.standard_normal(len(times))).clip(0, 3))
        for index, (t, after) in enumerate(zip(np.maximum(times + jitter, 0), late, strict=True)):
            if t < seconds:
                yield _Tick(round((t + after) * 1e9), float(t), index, self)

    def rng(self, index: int) -> np.random.Generator:
        """Noise of one measurement: it does not depend on what else is recorded."""
        return np.random.default_rng([self._seed, 4, self._number, index + 1])

    def measure(self, tick: _Tick, start_ns: int) -> Arrays:
        """Messages of one tick: (topic, type, message)."""
        raise NotImplementedError


class _Images(_Stream):
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

    def measure(self, tick: _Tick, start_ns: int) -> Arrays:
        cast = self._view.cast(self._motion.at(tick.t_s), self._colour)
        troubled = any(e.kind not in _SILENCING and e.holds(self._image_topic, tick.t_s) for e in self._events)
        stamp_ns, rng = tick.stamp_ns(start_ns), self.rng(tick.index)
        if self._what == "rgb":
            image = make.rgb_image(expose(cast.light(), rng, troubled), stamp_ns, self._frame)
        else:
            depth = measure_depth(cast.depth(), self._cosine, rng, troubled)
            image = make.depth_image(depth, stamp_ns, self._frame)
        camera = self._view.camera
        info = make.camera_info(camera.matrix, camera.width, camera.height, stamp_ns, self._frame)
        return (self._image_topic, make.IMAGE, image), (self._info_topic, make.CAMERA_INFO, info)


class _RadarMaps(_Stream):
    """Radar of a node."""

    def __init__(self, node: SensorNode, number: int, seed: int, motion: Motion) -> None:
        super().__init__(f"{node.name}/radar", number, seed, RADAR_HZ, 0.002, 0.020)
        self._radar, self._motion = Radar(node.sensor("radar"), node.name), motion
        self._topic, self._frame = f"/{node.name}/radar/range_azimuth", f"{node.name}_radar"

    def measure(self, tick: _Tick, start_ns: int) -> Arrays:
        heatmap = self._radar.heatmap(self._motion.at(tick.t_s), self.rng(tick.index))
        return (self._topic, make.IMAGE, make.radar_image(heatmap, tick.stamp_ns(start_ns), self._frame)),


class _Sound(_Stream):
    """Microphones of a node. The samples' clock is steady, so only the arrival jitters."""

    def __init__(self, node: SensorNode, number: int, seed: int, motion: Motion, seconds: float) -> None:
        super().__init__(f"{node.name}/audio", number, seed, acoustics.SAMPLE_RATE_HZ / acoustics.CHUNK, 0.0, 0.005)
        self._topic, self._frame = f"/{node.name}/audio", f"{node.name}_microphones"
        ticks = list(self.ticks(seconds))
        # The stamp belongs to the last sample, so a chunk begins a chunk less one sample earlier.
        start_s = ticks[0].t_s - (acoustics.CHUNK - 1) / acoustics.SAMPLE_RATE_HZ
        self._samples: npt.NDArray[np.float32] = acoustics.record_sound(
            node.sensor("microphones"), motion, start_s, len(ticks) * acoustics.CHUNK, seed)

    def measure(self, tick: _Tick, start_ns: int) -> Arrays:
        chunk = self._samples[tick.index * acoustics.CHUNK:(tick.index + 1) * acoustics.CHUNK]
        frame = make.audio_frame(chunk, acoustics.SAMPLE_RATE_HZ, tick.stamp_ns(start_ns), self._frame)
        return (self._topic, make.AUDIO_FRAME, frame),


class _Truth(_Stream):
    """Motion capture of the car."""

    def __init__(self, number: int, seed: int, motion: Motion) -> None:
        super().__init__("truth", number, seed, TRUTH_HZ, 0.0002, 0.003)
        self._motion = motion

    def measure(self, tick: _Tick, start_ns: int) -> Arrays:
        car = self._motion.at(tick.t_s)
        quaternion = make.quaternion_of(rotation_z(float(car.heading_rad)))
        position = (*car.position_m.tolist(), CAR_CENTRE_Z_M)
        return (TRUTH_TOPIC, make.POSE, make.pose_stamped(position, quaternion, tick.stamp_ns(start_ns), "map")),


class _Transforms(_Stream):
    """Where nodes and sensors stand, once at the start."""

    def __init__(self, nodes: list[SensorNode]) -> None:
        super().__init__("", 0, 0, 1.0, 0.0, 0.0)
        self._nodes = nodes

    def ticks(self, seconds: float) -> Iterator[_Tick]:
        yield _Tick(0, 0.0, 0, self)

    def measure(self, tick: _Tick, start_ns: int) -> Arrays:
        transforms = []
        for node in self._nodes:
            base = f"{node.name}_base"
            for parent, child, pose in [("map", base, node.base)] + [
                    (base, f"{node.name}_{suffix}", pose) for suffix, pose in node.sensors.items()]:
                x, y, z = pose.translation_m.tolist()
                transforms.append(make.Transform(parent, child, (x, y, z), make.quaternion_of(pose.rotation)))
        return ("/tf_static", make.TF, make.static_transforms(transforms, tick.stamp_ns(start_ns))),


class _Budgets(_Stream):
    """A power manager that changes its mind at fixed times."""

    def __init__(self, budgets: tuple[tuple[float, float], ...]) -> None:
        super().__init__("budget", 0, 0, 1.0, 0.0, 0.0)
        self._budgets = budgets

    def ticks(self, seconds: float) -> Iterator[_Tick]:
        for index, (t, _) in enumerate(self._budgets):
            yield _Tick(round(t * 1e9), t, index, self)

    def measure(self, tick: _Tick, start_ns: int) -> Arrays:
        message = make.compute_budget(self._budgets[tick.index][1], "layers", tick.stamp_ns(start_ns), source="demo")
        return (BUDGET_TOPIC, make.COMPUTE_BUDGET, message),


def _streams(nodes: list[SensorNode], motion: Motion, car: str, seed: int, seconds: float,
             events: tuple[Event, ...]) -> list[_Stream]:
    streams: list[_Stream] = [_Truth(0, seed, motion)]
    for k, node in enumerate(nodes):
        first = 1 + 4 * k
        streams.append(_Images(node, "rgb", first, seed, motion, car, events))
        streams.append(_Images(node, "depth", first + 1, seed, motion, car, events))
        streams.append(_RadarMaps(node, first + 2, seed, motion))
        streams.append(_Sound(node, first + 3, seed, motion, seconds))
    return streams
