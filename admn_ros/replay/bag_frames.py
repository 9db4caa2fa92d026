# SPDX-License-Identifier: Apache-2.0
"""Frames of a recording in its own time, by the node's own synchronizer: what came first is heard first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from admn_ros.deployment import CAMERA_INFO, MESSAGE_TYPES
from admn_ros.errors import InputError
from admn_ros.inference.frame_stream import FrameStream, InputHealth
from admn_ros.recordings.bags import BagReader
from admn_ros.sample import SensorFrame, SensorKey
from admn_ros.sensing.preprocess.camera_calibration import CameraCalibration
from admn_ros.sensing.preprocess.node_poses import TRANSFORM_TOPICS

NODE = "/admn"
"""Name of the perception node, for topics of its own (`~/...`)."""
POLL_S = 0.01
"""Between messages time goes on in such steps, as the replay node's does."""
IDLE_S = 60.0
"""Nothing waits so long: after it time goes on at once to the next message, which can be years away."""

OnMessage = Callable[[str, Any, float], None]
"""Called with topic, message and time in seconds."""
TimedFrame = tuple[SensorFrame, float]
"""A frame and the time at which it was complete, in seconds."""


def bag_inputs(bag: BagReader, stream: FrameStream) -> tuple[dict[str, SensorKey], list[str]]:
    """The configured topics that the bag has, and those that it lacks.

    Raises:
        InputError: the bag has no messages, none of the topics, or one of another type.
    """
    if not bag.message_count:
        raise InputError(str(bag.path), "0 messages", "a recording with messages")
    wanted = {absolute(entry.topic): key for key, entry in stream.inputs.items()}
    there = {topic: key for topic, key in wanted.items() if topic in bag.topics and bag.topics[topic].count}
    if not there:
        raise InputError(f"{bag.path}: topics", ", ".join(bag.topics), f"at least one of {', '.join(wanted)}, "
                                                                       "or another deployment file")
    for topic, key in there.items():
        expected = MESSAGE_TYPES[stream.inputs[key].kind_of(key.modality)]
        if bag.topics[topic].type != expected:
            raise InputError(f"{bag.path}: {topic}", bag.topics[topic].type, f"{expected}, as {key} is configured")
    return there, [topic for topic in wanted if topic not in there]


def absolute(topic: str) -> str:
    """A topic's full name, for a node called `NODE`."""
    return topic if topic.startswith("/") else f"{NODE}/{topic[2:]}" if topic.startswith("~/") else f"/{topic}"


def bag_frames(bag: BagReader, stream: FrameStream, inputs: Mapping[str, SensorKey], others: Iterable[str],
               on_message: OnMessage, run_out_s: float) -> Iterator[TimedFrame]:
    """Frames with the time, seconds, at which they were complete.

    Between two messages time goes on in steps, so that waits run out when they would. A message that cannot be
    used is counted in `stream.health`, and the next one is read.

    Args:
        bag: the recording.
        stream: of the deployment; it starts afresh.
        inputs: by topic.
        others: topics besides, whose messages go to `hear`.
        hear: gets topic, message and time.
        run_out_s: how long time goes on after the last message: as long as a frame can wait, and not until inputs
            count as silent, which would make frames of what is left.

    Raises:
        InputError: the recording is broken.
    """
    stream.restart()
    stream.health.update({key: InputHealth() for key in stream.inputs})
    placing = [t for t in TRANSFORM_TOPICS if t in bag.topics] if stream.node_poses is not None else []
    calibrating = _calibrating(bag, stream)
    now_s = -math.inf
    for topic, stamp_ns, raw in bag.raw([*inputs, *others, *placing, *calibrating]):
        arrived_s = max(now_s, stamp_ns * 1e-9)
        idle_at_s = min(arrived_s, now_s + IDLE_S)
        while now_s + POLL_S < idle_at_s and now_s > -math.inf:
            now_s += POLL_S
            yield from _at(stream.poll(now_s), now_s)
        now_s = arrived_s
        if topic in inputs:
            yield from _at(_receive(bag, stream, inputs[topic], topic, raw, now_s), now_s)
        elif topic in placing and stream.node_poses is not None:
            stream.node_poses.add(bag.deserialize(topic, raw))
        elif topic in calibrating:
            _calibrate(bag, [stream.cameras[key] for key in calibrating[topic]], topic, raw)
        else:
            _forward(bag, topic, raw, now_s, on_message)
    for _ in range(math.ceil(run_out_s / POLL_S) + 1):
        now_s += POLL_S
        yield from _at(stream.poll(now_s), now_s)


def _calibrating(bag: BagReader, stream: FrameStream) -> dict[str, list[SensorKey]]:
    """Topics of the bag with the calibration of cameras, and whose it is."""
    found: dict[str, list[SensorKey]] = {}
    for key, camera in stream.cameras.items():
        topic = absolute(camera.topic)
        if topic in bag.topics and bag.topics[topic].type == CAMERA_INFO:
            found.setdefault(topic, []).append(key)
    return found


def _calibrate(bag: BagReader, cameras: list[CameraCalibration], topic: str, raw: bytes) -> None:
    try:
        message = bag.deserialize(topic, raw)
    except InputError as error:
        for camera in cameras:
            camera.refuse(error)
        return
    for camera in cameras:
        camera.hear(message)


def _receive(bag: BagReader, stream: FrameStream, key: SensorKey, topic: str, raw: bytes,
             now_s: float) -> list[SensorFrame]:
    try:
        return stream.receive(key, bag.deserialize(topic, raw), now_s)
    except InputError as error:
        stream.health[key].refuse(error)
        return []


def _forward(bag: BagReader, topic: str, raw: bytes, now_s: float, on_message: OnMessage) -> None:
    try:
        on_message(topic, bag.deserialize(topic, raw), now_s)
    except InputError:
        return  # as the node: what was in force stays


def _at(frames: list[SensorFrame], now_s: float) -> Iterator[TimedFrame]:
    return ((frame, now_s) for frame in frames)
