# SPDX-License-Identifier: Apache-2.0
"""Synthetic sensors: every topic of a deployment at its rate, with synthetic messages or those of a recording.

Messages carry the current time, so a recording can be repeated for hours. A stream can be given a fault while it runs.
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
from rclpy._rclpy_pybind11 import RCLError
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from admn_ros.deployment import DeploymentConfig, load_deployment
from admn_ros.errors import InputError
from admn_ros.msg import AudioFrame
from admn_ros.nodes import qos
from admn_ros.nodes.parameters import Spec, declare, warn_of_unknown
from admn_ros.nodes.run_node import Program, run_node
from admn_ros.nodes.trials import synthetic_messages as synthetic
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.replay.bag_frames import absolute
from admn_ros.sample import Modality, SensorKey

POOL = 4         # synthetic messages of a modality, sent in turn
BEHIND_S = 0.5   # a sender that is later than this skips measurements
BASIC_TYPES = ("image", "audio_frame")
TYPES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage,
         "admn_ros/msg/AudioFrame": AudioFrame}


@dataclass(frozen=True)
class StreamFault:
    """A fault of a stream. The default is none.

    Attributes:
        silent: whether nothing is sent.
        lag_s: delay of messages after their stamp, in seconds.
        speed: multiple of the normal rate.
        shift_s: offset of the stamps, in seconds.
        messages: serialized messages to send in place of the stream's own.
    """

    silent: bool = False
    lag_s: float = 0.0
    speed: float = 1.0
    shift_s: float = 0.0
    messages: tuple[bytes, ...] = ()


@dataclass
class SensorStream:
    """One topic.

    Attributes:
        key: input that the topic feeds.
        topic: name of the topic.
        kind: message type.
        rate_hz: normal rate.
        messages: serialized messages, sent in turn.
        fault: fault in force.
        ticks: number of measurements so far.
        publisher: publisher of the topic, once the feed has one.
    """

    key: SensorKey
    topic: str
    kind: type
    rate_hz: float
    messages: Sequence[bytes]
    fault: StreamFault = StreamFault()
    ticks: int = 0
    publisher: Publisher | None = field(default=None, repr=False)

    @property
    def subscribers(self) -> int:
        """Number of subscriptions that its publisher has discovered."""
        return 0 if self.publisher is None else self.publisher.get_subscription_count()

    def next_message(self) -> bytes:
        """Return the message of the current measurement."""
        messages = self.fault.messages or self.messages
        return messages[self.ticks % len(messages)]


class SensorFeed:
    """Publishes streams from a thread of its own until it is closed.

    Each stream has its own phase, as unsynchronized sensors have.

    Attributes:
        streams: streams by input.
    """

    def __init__(self, node: Node, streams: Sequence[SensorStream], seed: int = 0) -> None:
        self.streams = {s.key: s for s in streams}
        for stream in streams:
            stream.publisher = node.create_publisher(stream.kind, stream.topic, qos.SENSOR_IN)
        self._context = node.context
        self._rng = np.random.default_rng(seed)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        """Start publishing."""
        self._thread.start()

    def close(self) -> None:
        """Stop publishing."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def streams_of(self, modality: Modality) -> list[SensorStream]:
        """Return the streams of a modality."""
        return [s for k, s in self.streams.items() if k.modality is modality]

    def set_fault(self, modality: Modality | None, fault: StreamFault) -> None:
        """Set the fault of all streams of a modality, or of all streams; `StreamFault()` clears it."""
        for stream in self.streams.values():
            if modality in (None, stream.key.modality):
                stream.fault = fault

    def _run(self) -> None:
        """Process an agenda of (time, number, stream, stamp): a measurement, or with a stamp a delayed message."""
        begin_s, numbers = time.monotonic(), itertools.count()
        agenda: list[tuple[float, int, SensorStream, int | None]] = [
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
                fault, now_ns = stream.fault, time.time_ns()
                next_s = max(due_s, time.monotonic() - BEHIND_S) + 1 / (stream.rate_hz * fault.speed)
                heapq.heappush(agenda, (next_s, next(numbers), stream, None))
                stream.ticks += 1
                if fault.silent:
                    continue
                stamp_ns = now_ns + round(1e9 * fault.shift_s)
                if fault.lag_s:
                    heapq.heappush(agenda, (due_s + fault.lag_s, next(numbers), stream, stamp_ns))
                else:
                    self._send(stream, stamp_ns)
        except RCLError:
            if self._context.ok():  # otherwise the context was shut down first
                raise

    @staticmethod
    def _send(stream: SensorStream, stamp_ns: int) -> None:
        stream.publisher.publish(restamped(stream.next_message(), stamp_ns))


def restamped(message: bytes, stamp_ns: int) -> bytes:
    """Return a serialized message that begins with a header, with another stamp."""
    # The first four bytes are the encapsulation; the lowest bit of the second is 1 for little-endian.
    stamp = struct.pack("<iI" if message[1] & 1 else ">iI", stamp_ns // 10**9, stamp_ns % 10**9)
    return b"".join((message[:4], stamp, memoryview(message)[12:]))


def synthetic_streams(deployment: DeploymentConfig, sizes: synthetic.Sizes, seed: int = 0,
                      rates_hz: Mapping[Modality, float] = synthetic.RATES_HZ) -> list[SensorStream]:
    """Return a stream of synthetic messages for each input.

    Raises:
        InputError: an input of a type that has no synthetic messages.
    """
    rng = np.random.default_rng(seed)
    pools = {m: [synthetic.valid_message(m, sizes, rng) for _ in range(POOL)] for m in
             dict.fromkeys(k.modality for k in deployment.inputs)}
    streams = []
    for key, entry in deployment.inputs.items():
        pool, kind = pools[key.modality], entry.kind_of(key.modality)
        if kind == "compressed_image" and key.modality is Modality.RGB:
            pool = [synthetic.compressed_message(message) for message in pool]
        elif kind not in BASIC_TYPES:
            raise InputError(f"sensors.{key.node}.{key.modality}.type", kind,
                             f"{', '.join(BASIC_TYPES)}, or compressed_image of rgb, for synthetic messages")
        streams.append(SensorStream(key, entry.topic, type(pool[0]), rates_hz[key.modality],
                                    [serialize_message(message) for message in pool]))
    return streams


def recorded_streams(deployment: DeploymentConfig, bag: Path) -> list[SensorStream]:
    """Return a stream for each input that a bag has, at its recorded rate.

    Raises:
        InputError: the bag cannot be read, has none of the inputs, or has an input of an unsupported type.
    """
    keys = {absolute(entry.topic): key for key, entry in deployment.inputs.items()}
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
    return [SensorStream(keys[topic], topic, TYPES[kind], _rate_hz(stamps[topic]), messages[topic])
            for topic, kind in found.items()]


def _rate_hz(stamps_ns: Sequence[int]) -> float:
    return (len(stamps_ns) - 1) / max(1e-9 * (stamps_ns[-1] - stamps_ns[0]), 1e-3)


PARAMETERS = (
    Spec("sensors", "gdtm", "Deployment file or its name in config/.", fixed=True),
    Spec("bag", "", "Rosbag2 to repeat with new stamps; empty: synthetic messages.", fixed=True),
    Spec("speed", 1.0, "Multiple of the normal rate of every stream.", fixed=True, low=0.01, high=100.0),
    *(Spec(f"{what}_{side}", pixels, f"Pixels of synthetic {what} images.", fixed=True, low=8, high=4096)
      for what, size in (("rgb", synthetic.Sizes.rgb), ("depth", synthetic.Sizes.depth))
      for side, pixels in zip(("height", "width"), size, strict=True)),
    Spec("seed", 0, "Seed of messages and phases.", fixed=True, low=0, high=2**31 - 1),
)


class FeedNode(Node):
    """A sensor feed in a process of its own, until Ctrl-C."""

    def __init__(self, name: str = "feed", **kwargs: object) -> None:
        super().__init__(name, **kwargs)
        values = declare(self, PARAMETERS)
        warn_of_unknown(self)
        sensors, bag, seed = values["sensors"], values["bag"], values["seed"]
        sizes = synthetic.Sizes((values["rgb_height"], values["rgb_width"]),
                                (values["depth_height"], values["depth_width"]))
        deployment = load_deployment(sensors)
        streams = (recorded_streams(deployment, Path(bag).expanduser()) if bag
                   else synthetic_streams(deployment, sizes, seed))
        self.feed = SensorFeed(self, streams, seed)
        self.feed.set_fault(None, StreamFault(speed=values["speed"]))
        self.feed.start()

    def destroy_node(self) -> None:
        """Stop publishing first."""
        self.feed.close()
        super().destroy_node()


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run admn_ros feed`."""
    return run_node(FeedNode, Program("feed", __doc__, PARAMETERS), args)


if __name__ == "__main__":
    sys.exit(main())
