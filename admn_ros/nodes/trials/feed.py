# SPDX-License-Identifier: Apache-2.0
"""Sensors that are not there: every topic of a deployment at its rate, from made-up readings or a recording.

Stamps are those of now, so a recording can go round for hours. Any stream can be given a trouble while it runs.
"""

from __future__ import annotations

import heapq
import itertools
import struct
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy._rclpy_pybind11 import RCLError
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from admn_ros.config import load_config
from admn_ros.deployment import DeploymentConfig
from admn_ros.errors import InputError
from admn_ros.msg import AudioFrame
from admn_ros.nodes import qos
from admn_ros.nodes.run_node import run_node
from admn_ros.nodes.trials import synthetic_messages as readings
from admn_ros.recordings.bags import BagReader
from admn_ros.sample import Modality, SensorKey
from admn_ros.share import find_shipped

POOL = 4  # made-up readings of a modality, sent in turn
BEHIND_S = 0.5  # a sender that is later than this leaves measurements out
PLAIN = ("image", "audio_frame")
TYPES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage,
         "admn_ros/msg/AudioFrame": AudioFrame}


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a stream.

    silent: nothing is sent. lag_s: sent so much later than stamped. speed: times the rate. shift_s: added to the
    stamps. messages: sent in place of the stream's own, serialized.
    """

    silent: bool = False
    lag_s: float = 0.0
    speed: float = 1.0
    shift_s: float = 0.0
    messages: tuple[bytes, ...] = ()


@dataclass
class Stream:
    """One topic. ticks: measurements that were due so far; sent: messages published."""

    key: SensorKey
    topic: str
    kind: type
    rate_hz: float
    messages: Sequence[bytes]
    trouble: Trouble = Trouble()
    ticks: int = 0
    sent: int = 0
    publisher: Publisher | None = field(default=None, repr=False)

    def next_message(self) -> bytes:
        """The reading whose turn it is."""
        messages = self.trouble.messages or self.messages
        return messages[self.ticks % len(messages)]


class Feed:
    """Publishes streams from a thread of its own until it is closed.

    Each stream has its own phase, as sensors have that nobody synchronized.
    """

    def __init__(self, node: Node, streams: Sequence[Stream], seed: int = 0) -> None:
        self.streams = {s.key: s for s in streams}
        for stream in streams:
            stream.publisher = node.create_publisher(stream.kind, stream.topic, qos.SENSOR_IN)
        self._context = node.context
        self._rng = np.random.default_rng(seed)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def close(self) -> None:
        """Stop publishing."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    @property
    def connected(self) -> bool:
        """Whether every stream has a listener."""
        return all(s.publisher.get_subscription_count() for s in self.streams.values())

    def of(self, modality: Modality) -> list[Stream]:
        """The streams of a modality."""
        return [s for k, s in self.streams.items() if k.modality is modality]

    def trouble(self, modality: Modality | None, trouble: Trouble) -> None:
        """Give all streams of a modality (None: of every one) a trouble, or `Trouble()` to take it away."""
        for stream in self.streams.values():
            if modality in (None, stream.key.modality):
                stream.trouble = trouble

    def _run(self) -> None:
        """An agenda of (when, number, stream, stamp): without a stamp a measurement, with one a delayed message."""
        begin_s, numbers = time.monotonic(), itertools.count()
        agenda: list[tuple[float, int, Stream, int | None]] = [
            (begin_s + self._rng.uniform(0, 1 / s.rate_hz), next(numbers), s, None) for s in self.streams.values()]
        heapq.heapify(agenda)
        try:
            while not self._stopping.is_set():
                due_s, _, stream, stamp_ns = agenda[0]
                pause_s = due_s - time.monotonic()
                if pause_s > 0:
                    self._stopping.wait(pause_s)
                    continue
                heapq.heappop(agenda)
                if stamp_ns is not None:
                    self._send(stream, stamp_ns)
                    continue
                trouble, now_ns = stream.trouble, time.time_ns()
                next_s = max(due_s, time.monotonic() - BEHIND_S) + 1 / (stream.rate_hz * trouble.speed)
                heapq.heappush(agenda, (next_s, next(numbers), stream, None))
                stream.ticks += 1
                if trouble.silent:
                    continue
                stamp_ns = now_ns + round(1e9 * trouble.shift_s)
                if trouble.lag_s:
                    heapq.heappush(agenda, (due_s + trouble.lag_s, next(numbers), stream, stamp_ns))
                else:
                    self._send(stream, stamp_ns)
        except RCLError:
            if self._context.ok():  # otherwise ROS went away first
                raise

    @staticmethod
    def _send(stream: Stream, stamp_ns: int) -> None:
        stream.publisher.publish(restamped(stream.next_message(), stamp_ns))
        stream.sent += 1


def restamped(message: bytes, stamp_ns: int) -> bytes:
    """A serialized message that begins with a header, with another stamp."""
    # Four bytes say how it is encoded; the second of them, whether little-endian.
    stamp = struct.pack("<iI" if message[1] & 1 else ">iI", stamp_ns // 10**9, stamp_ns % 10**9)
    return b"".join((message[:4], stamp, memoryview(message)[12:]))


def made_up(deployment: DeploymentConfig, sizes: readings.Sizes, seed: int = 0,
            rates_hz: Mapping[Modality, float] = readings.RATES_HZ) -> list[Stream]:
    """A stream of made-up readings for each input.

    Raises:
        InputError: an input of a type that is not made up.
    """
    rng = np.random.default_rng(seed)
    pools = {m: [readings.sound(m, sizes, rng) for _ in range(POOL)] for m in
             dict.fromkeys(k.modality for k in deployment.inputs)}
    streams = []
    for key, entry in deployment.inputs.items():
        pool, kind = pools[key.modality], entry.kind_of(key.modality)
        if kind == "compressed_image" and key.modality is Modality.RGB:
            pool = [readings.compressed(message) for message in pool]
        elif kind not in PLAIN:
            raise InputError(f"sensors.{key.node}.{key.modality}.type", kind,
                             f"{', '.join(PLAIN)}, and compressed_image of rgb, when readings are made up")
        streams.append(Stream(key, entry.topic, type(pool[0]), rates_hz[key.modality],
                              [serialize_message(message) for message in pool]))
    return streams


def recorded(deployment: DeploymentConfig, bag: Path) -> list[Stream]:
    """A stream for each input that a bag has, at the rate that it was recorded with.

    Raises:
        InputError: the bag cannot be read, has none of the inputs, or has an input of a type that is not sent.
    """
    keys = {entry.topic: key for key, entry in deployment.inputs.items()}
    with BagReader(bag) as reader:
        found = {topic: info.type for topic, info in reader.topics.items() if topic in keys and info.count > 1}
        if not found:
            raise InputError(str(bag), f"topics {', '.join(reader.topics)}", f"some of {', '.join(keys)}")
        unknown = [f"{topic} ({kind})" for topic, kind in found.items() if kind not in TYPES]
        if unknown:
            raise InputError(str(bag), ", ".join(unknown), ", ".join(TYPES))
        messages: dict[str, list[bytes]] = {topic: [] for topic in found}
        stamps: dict[str, list[int]] = {topic: [] for topic in found}
        for topic, stamp_ns, raw in reader.raw(list(found)):
            messages[topic].append(raw)
            stamps[topic].append(stamp_ns)
    return [Stream(keys[topic], topic, TYPES[kind], _rate_hz(stamps[topic]), messages[topic])
            for topic, kind in found.items()]


def _rate_hz(stamps_ns: Sequence[int]) -> float:
    return (len(stamps_ns) - 1) / max(1e-9 * (stamps_ns[-1] - stamps_ns[0]), 1e-3)


class FeedNode(Node):
    """A feed in a process of its own, until Ctrl-C."""

    def __init__(self, name: str = "feed", **kwargs: object) -> None:
        super().__init__(name, **kwargs)
        sensors = self._declare("sensors", "gdtm", "Deployment file, or the name of one in config/.")
        bag = self._declare("bag", "", "Rosbag2 that goes round with new stamps; empty: made-up readings.")
        speed = self._declare("speed", 1.0, "Times the rate of every stream.", floats=(0.01, 100.0))
        sizes = readings.Sizes(*(
            (self._declare(f"{what}_height", high, f"Pixels of made-up {what}.", integers=(8, 4096)),
             self._declare(f"{what}_width", wide, f"Pixels of made-up {what}.", integers=(8, 4096)))
            for what, (high, wide) in (("rgb", readings.Sizes.rgb), ("depth", readings.Sizes.depth))))
        seed = self._declare("seed", 0, "Seed of readings and phases.", integers=(0, 2**31 - 1))
        deployment = load_config(DeploymentConfig, find_shipped(sensors, "config", ".yaml"))
        streams = recorded(deployment, Path(bag).expanduser()) if bag else made_up(deployment, sizes, seed)
        self.feed = Feed(self, streams, seed)
        self.feed.trouble(None, Trouble(speed=speed))
        self.feed.start()

    def destroy_node(self) -> None:
        """Stop publishing first."""
        self.feed.close()
        super().destroy_node()

    def _declare(self, name: str, default: object, description: str, integers: tuple[int, int] | None = None,
                 floats: tuple[float, float] | None = None) -> object:
        return self.declare_parameter(name, default, ParameterDescriptor(
            description=description, read_only=True,
            integer_range=[IntegerRange(from_value=integers[0], to_value=integers[1], step=0)] if integers else [],
            floating_point_range=[FloatingPointRange(from_value=floats[0], to_value=floats[1], step=0.0)]
            if floats else [])).value


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run admn_ros feed`."""
    return run_node(FeedNode, args)


if __name__ == "__main__":
    sys.exit(main())
