# SPDX-License-Identifier: Apache-2.0
"""Readers of ground truth: pose topics of a recording, its TF, or a file of a motion capture system."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from admn_ros.errors import InputError
from admn_ros.files import parse_json
from admn_ros.recordings.bag_messages import TF
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.recordings.tf_tree import STATIC, TransformTree
from admn_ros.replay.ground_truth import NS, Track
from admn_ros.replay.track_file import read_track
from admn_ros.replay.track_times import BagTimes, check_overlap
from admn_ros.scoring.metrics import Floats, Whole

DEFAULT_TOPIC = "/ground_truth/pose"
TF_PREFIX = "tf:"
NOTE = "admn_recording"
_POSITION: dict[str, Callable[[Any], Any]] = {
    "geometry_msgs/msg/PoseStamped": lambda m: m.pose.position,
    "geometry_msgs/msg/PoseWithCovarianceStamped": lambda m: m.pose.pose.position,
    "geometry_msgs/msg/PointStamped": lambda m: m.point,
    "geometry_msgs/msg/TransformStamped": lambda m: m.transform.translation,
    "nav_msgs/msg/Odometry": lambda m: m.pose.pose.position,
}


def find_track(bag: BagReader, wanted: str | None, frame_id: str,
               times: BagTimes | None = None) -> tuple[Track | None, str]:
    """Return the ground truth of a recording, or the reason why there is none.

    Args:
        bag: recording.
        wanted: topic, `tf:CHILD`, file, or None for `DEFAULT_TOPIC` if the recording has it.
        frame_id: frame of the positions, that of the model.
        times: times of the recording, with which the ground truth must overlap; None for those of the recorder.

    Raises:
        InputError: the requested ground truth does not exist, cannot be used, or is of another time.
    """
    if wanted is None:
        if DEFAULT_TOPIC not in bag.topics:
            return None, f"no ground truth: {bag.path.name} has no topic {DEFAULT_TOPIC}, and no other was named"
        wanted = DEFAULT_TOPIC
    times = times or BagTimes.of(bag, ())
    if wanted.startswith(TF_PREFIX):
        track = _from_tf(bag, wanted.removeprefix(TF_PREFIX), frame_id)
    elif wanted.startswith("/") and wanted in bag.topics:
        track = _from_topic(bag, wanted, frame_id)
    elif Path(wanted).is_file():
        return read_track(Path(wanted), times), ""
    else:
        raise _unknown(bag, wanted)
    check_overlap(f"truth {wanted}", track, times)
    return track, ""


def _unknown(bag: BagReader, wanted: str) -> InputError:
    poses = [t for t, i in bag.topics.items() if i.type in _POSITION]
    return InputError("truth", wanted, f"a topic of poses in {bag.path.name} ({', '.join(poses) or 'none'}), tf:CHILD, "
                                       "or a CSV or TUM file")


def read_transforms(bag: BagReader) -> TransformTree:
    """All of a recording's TF.

    Raises:
        InputError: the recording is broken.
    """
    tree, topics = TransformTree(history=True), [t for t, i in bag.topics.items() if i.type == TF]
    if topics:
        for topic, _, message in bag.messages(topics):
            tree.add(message, static=topic.endswith(STATIC))
    return tree


def recorded_class(bag: BagReader) -> str | None:
    """Return the class of the target that the simulator recorded in the bag; None if there is none."""
    try:
        note = parse_json(bag.custom_data.get(NOTE, "{}"))
    except ValueError:
        return None
    if not isinstance(note, dict):
        return None
    car = note.get("car")
    return note.get("target") or (f"{car}_car" if isinstance(car, str) else None)


def _from_topic(bag: BagReader, topic: str, frame_id: str) -> Track:
    kind = bag.topics[topic].type
    if kind not in _POSITION:
        raise InputError(f"truth {topic}", kind, ", ".join(_POSITION))
    stamps, positions, frames = [], [], set()
    for _, _, message in bag.messages([topic]):
        point, header = _POSITION[kind](message), message.header
        stamps.append(header.stamp.sec * NS + header.stamp.nanosec)
        positions.append((point.x, point.y, point.z))
        frames.add(header.frame_id)
    if not stamps:
        raise InputError(f"truth {topic}", "no messages", "poses")
    if len(frames) > 1:
        raise InputError(f"truth {topic}: frame_id", ", ".join(sorted(frames)), "one frame all through")
    stamps_ns, position_m = np.array(stamps, np.int64), np.array(positions, np.float64)
    (frame,) = frames
    if frame not in ("", frame_id):
        position_m = read_transforms(bag).at(frame, frame_id, stamps_ns).transform(position_m)
    return Track.of(stamps_ns, position_m, topic)


def _from_tf(bag: BagReader, child: str, frame_id: str) -> Track:
    tree = read_transforms(bag)
    stamps_ns: Whole = tree.stamps_ns(child, frame_id)
    fixed = not len(stamps_ns)
    if fixed:
        stamps_ns = np.array([bag.start_ns], np.int64)
    position_m: Floats = tree.at(child, frame_id, stamps_ns).translation_m
    if fixed:
        return Track(stamps_ns, position_m, f"TF {child}", fixed=True)
    return Track.of(stamps_ns, position_m, f"TF {child}")
