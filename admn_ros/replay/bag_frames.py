# SPDX-License-Identifier: Apache-2.0
"""Frames of a recording, by the node's own synchronizer, in the order in which the messages were recorded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from admn_ros.deployment import CAMERA_INFO, INPUT_TYPES, MESSAGE_TYPES
from admn_ros.errors import InputError
from admn_ros.inference.frame_stream import FrameStream
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.recordings.tf_tree import TOPICS as TF_TOPICS
from admn_ros.recordings.topic_names import similar_topics
from admn_ros.sample import SensorFrame, SensorKey
from admn_ros.sensing.preprocess.camera_calibration import CameraCalibration

NODE = "/admn"
"""Name of the perception node, for private topics (`~/...`)."""
POLL_S = 0.01
"""Step of the simulated time between messages, that of the replay node, in seconds."""
IDLE_S = 60.0
"""Longest gap between messages that is simulated in steps, in seconds. No frame waits longer."""

HINTS = {
    "audio_common_msgs/msg/AudioData": "AudioData has no stamp; audio_capture publishes AudioDataStamped on the topic "
                                       "audio_stamped beside it",
    "Packet": "play these packets through the driver of the sensor, and record what it publishes",
    "VelodyneScan": "play these packets through the driver of the sensor, and record what it publishes"}
"""What helps against message types that no input has, by a part of their names."""

OnMessage = Callable[[str, Any, float], None]
"""Called with topic, message and time in seconds."""
TimedFrame = tuple[SensorFrame, float]
"""A frame and the time at which it was complete, in seconds."""


def bag_inputs(bag: BagReader, stream: FrameStream) -> tuple[dict[str, SensorKey], list[str]]:
    """Return the configured topics that the bag has, with their inputs, and those that it lacks.

    Raises:
        InputError: the bag has no messages or none of the topics, or a topic has another type.
    """
    if not bag.message_count:
        raise InputError(str(bag.path), "0 messages", "a recording with messages")
    wanted = {absolute(entry.topic): key for key, entry in stream.inputs.items()}
    found = {topic: key for topic, key in wanted.items() if topic in bag.topics and bag.topics[topic].count}
    if not found:
        raise InputError(f"{bag.path}: topics", ", ".join(bag.topics), f"at least one of {', '.join(wanted)}, "
                                                                       "or another deployment file")
    for topic, key in found.items():
        expected = MESSAGE_TYPES[stream.inputs[key].kind_of(key.modality)]
        if bag.topics[topic].type != expected:
            raise _wrong_type(bag, topic, key, expected)
    return found, [topic for topic in wanted if topic not in found]


def _wrong_type(bag: BagReader, topic: str, key: SensorKey, expected: str) -> InputError:
    """Return the error for a topic of another type than its input, with what would help."""
    found, known = bag.topics[topic].type, {MESSAGE_TYPES[kind]: kind for kind in INPUT_TYPES[key.modality]}
    others = [f"{name} ({info.type})" for name, info in bag.topics.items() if info.type in known]
    help_ = (f"or `type: {known[found]}` for this topic" if found in known else
             f"such as {', '.join(others)}" if others else
             next((text for part, text in HINTS.items() if part in found), ""))
    return InputError(f"{bag.path}: {topic}", found,
                      f"{expected}, as {key} is configured" + (f"; {help_}" if help_ else ""))


def similar_names(bag: BagReader, stream: FrameStream, topic: str) -> list[str]:
    """Return topics of the bag that a configured topic that it lacks may have been meant to be.

    A topic of that name whose messages are not those of ROS 2 comes first.
    """
    wanted = {absolute(entry.topic): entry.kind_of(key.modality) for key, entry in stream.inputs.items()}
    there = {name: info.type for name, info in bag.topics.items() if info.count}
    foreign = [f"{topic} ({bag.ignored[topic]})"] if topic in bag.ignored else []
    return foreign + similar_topics(topic, MESSAGE_TYPES[wanted[topic]], there, wanted)


def absolute(topic: str) -> str:
    """Return the full name of a topic of the node `NODE`."""
    return topic if topic.startswith("/") else f"{NODE}/{topic[2:]}" if topic.startswith("~/") else f"/{topic}"


def bag_frames(bag: BagReader, stream: FrameStream, run_out_s: float, others: Iterable[str] = (),
               on_message: OnMessage = lambda topic, message, now_s: None) -> Iterator[TimedFrame]:
    """Read the frames of a recording.

    Time passes in steps between two messages, so that waits time out as in the node. Messages that cannot be used are
    counted in `stream.health`.

    Args:
        bag: recording.
        stream: frame stream of the deployment; it is restarted.
        run_out_s: time that passes after the last message, in seconds: the longest wait of a frame. More would make
            frames after the inputs count as silent.
        others: further topics, whose messages go to `on_message`.
        on_message: callback for messages of `others`. Its `InputError`s are ignored, as in the node.

    Yields:
        Frames, with the time in seconds at which they were complete.

    Raises:
        InputError: the recording is broken.
    """
    inputs, _ = bag_inputs(bag, stream)
    stream.restart()
    stream.forget_counts()
    transforms = [t for t in TF_TOPICS if t in bag.topics] if stream.node_poses is not None else []
    calibrations = _calibration_topics(bag, stream)
    for now_s, topic, raw in _timeline(bag, [*inputs, *others, *transforms, *calibrations], run_out_s):
        frames: list[SensorFrame] = []
        stream.watch.update(now_s, stream.sync)
        if raw is None:
            frames = stream.poll(now_s)
        elif topic in inputs:
            frames = _receive(bag, stream, inputs[topic], topic, raw, now_s)
        elif topic in transforms and stream.node_poses is not None:
            stream.node_poses.add(bag.deserialize(topic, raw))
        elif topic in calibrations:
            _calibrate(bag, [stream.cameras[key] for key in calibrations[topic]], topic, raw)
        else:
            with suppress(InputError):
                on_message(topic, bag.deserialize(topic, raw), now_s)
        for frame in frames:
            yield frame, now_s


def _timeline(bag: BagReader, topics: Sequence[str], run_out_s: float) -> Iterator[tuple[float, str, bytes | None]]:
    """Yield time, topic and content of each message, and the steps in time between them, without content."""
    now_s = -math.inf
    for topic, stamp_ns, raw in bag.raw(topics):
        arrived_s = max(now_s, stamp_ns * 1e-9)
        idle_at_s = min(arrived_s, now_s + IDLE_S)
        while now_s + POLL_S < idle_at_s and now_s > -math.inf:
            now_s += POLL_S
            yield now_s, "", None
        now_s = arrived_s
        yield now_s, topic, raw
    for _ in range(math.ceil(run_out_s / POLL_S) + 1):
        now_s += POLL_S
        yield now_s, "", None


def _calibration_topics(bag: BagReader, stream: FrameStream) -> dict[str, list[SensorKey]]:
    """Return the topics of the bag that have the calibration of cameras, with those cameras.

    A camera whose topic has another type, or which the deployment names and the bag lacks, gets that as its problem.
    """
    found: dict[str, list[SensorKey]] = {}
    for key, camera in stream.cameras.items():
        topic = absolute(camera.topic)
        info = bag.topics.get(topic)
        if info is not None and info.type == CAMERA_INFO:
            found.setdefault(topic, []).append(key)
        elif info is not None or stream.inputs[key].camera_info is not None:
            camera.refuse(InputError("type", "no messages" if info is None else info.type, CAMERA_INFO))
    return found


def _calibrate(bag: BagReader, cameras: list[CameraCalibration], topic: str, raw: bytes) -> None:
    try:
        message = bag.deserialize(topic, raw)
    except InputError as error:
        for camera in cameras:
            camera.refuse(error)
        return
    for camera in cameras:
        camera.on_message(message)


def _receive(bag: BagReader, stream: FrameStream, key: SensorKey, topic: str, raw: bytes,
             now_s: float) -> list[SensorFrame]:
    try:
        return stream.receive(key, bag.deserialize(topic, raw), now_s)
    except InputError as error:
        stream.refuse(key, error)
        return []
