# SPDX-License-Identifier: Apache-2.0
"""Readers of ground truth: pose topics of a recording, its TF, or a file of a motion capture system."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from admn_ros.errors import InputError
from admn_ros.recordings.bag_messages import TF
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.recordings.tf_tree import STATIC, TransformTree
from admn_ros.replay.ground_truth import NS, Track
from admn_ros.scoring.metrics import Floats, Whole

DEFAULT_TOPIC = "/ground_truth/pose"
TF_PREFIX = "tf:"
NOTE = "admn_recording"
RELATIVE_BELOW_S = 1e8
"""Times of a file below this number of seconds count from the start of the recording, others from 1970."""
_TIMES = ("time_s", "t_s", "timestamp", "time", "t", "stamp")
_TIMES_NS = ("stamp_ns", "timestamp_ns", "time_ns")
_AXES = (("x_m", "x", "tx", "p_x"), ("y_m", "y", "ty", "p_y"), ("z_m", "z", "tz", "p_z"))
_POSITION: dict[str, Callable[[Any], Any]] = {
    "geometry_msgs/msg/PoseStamped": lambda m: m.pose.position,
    "geometry_msgs/msg/PoseWithCovarianceStamped": lambda m: m.pose.pose.position,
    "geometry_msgs/msg/PointStamped": lambda m: m.point,
    "geometry_msgs/msg/TransformStamped": lambda m: m.transform.translation,
    "nav_msgs/msg/Odometry": lambda m: m.pose.pose.position,
}


def find_track(bag: BagReader, wanted: str | None, frame_id: str) -> tuple[Track | None, str]:
    """Return the ground truth of a recording, or the reason why there is none.

    Args:
        bag: recording.
        wanted: topic, `tf:CHILD`, file, or None for `DEFAULT_TOPIC` if the recording has it.
        frame_id: frame of the positions, that of the model.

    Raises:
        InputError: the requested ground truth does not exist or cannot be used.
    """
    if wanted is None:
        if DEFAULT_TOPIC not in bag.topics:
            return None, f"no ground truth: {bag.path.name} has no topic {DEFAULT_TOPIC}, and no other was named"
        wanted = DEFAULT_TOPIC
    if wanted.startswith(TF_PREFIX):
        return _from_tf(bag, wanted.removeprefix(TF_PREFIX), frame_id), ""
    if wanted.startswith("/") and wanted in bag.topics:
        return _from_topic(bag, wanted, frame_id), ""
    if Path(wanted).is_file():
        return read_track(Path(wanted), bag.start_ns), ""
    poses = [t for t, i in bag.topics.items() if i.type in _POSITION]
    raise InputError("truth", wanted, f"a topic of poses in {bag.path.name} ({', '.join(poses) or 'none'}), tf:CHILD, "
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
        note = json.loads(bag.custom_data.get(NOTE, "{}"))
    except ValueError:
        return None
    if not isinstance(note, dict):
        return None
    car = note.get("car")
    return note.get("target") or (f"{car}_car" if isinstance(car, str) else None)


def read_track(path: Path, start_ns: int) -> Track:
    """Read a track from a file: CSV with a header (time_s or stamp_ns; x, y, z in metres), or TUM.

    Args:
        path: file. TUM files have lines `time x y z qx qy qz qw` and comments after #.
        start_ns: origin of times below 1e8 s, nanoseconds.

    Raises:
        InputError: the file cannot be read, or a line is malformed.
    """
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines()
                 if line.strip() and not line.lstrip().startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"an unreadable file ({error})", "a CSV or TUM file of positions") from error
    if not lines:
        raise InputError(str(path), "an empty file", "a CSV or TUM file of positions")
    rows = list(_csv_rows(path, lines)) if "," in lines[0] else list(_tum_rows(path, lines))
    stamps_ns = np.array([start_ns + ns if ns < RELATIVE_BELOW_S * NS else ns for ns, _ in rows], np.int64)
    return Track.of(stamps_ns, np.array([p for _, p in rows], np.float64).reshape(-1, 3), path.name)


def _csv_rows(path: Path, lines: list[str]) -> Iterator[tuple[int, tuple[float, float, float]]]:
    reader = csv.DictReader(lines, skipinitialspace=True)
    names = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = names
    time = next((n for n in (*_TIMES_NS, *_TIMES) if n in names), None)
    axes = [next((n for n in known if n in names), None) for known in _AXES]
    if time is None or axes[0] is None or axes[1] is None:
        raise InputError(f"{path}: columns", ", ".join(names), "time_s or stamp_ns, x and y, and z if it is known")
    for number, row in enumerate(reader, start=2):
        try:
            x, y, z = (0.0 if axis is None else float(row[axis]) for axis in axes)
            yield (int(row[time]) if time in _TIMES_NS else round(float(row[time]) * NS)), (x, y, z)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{path}: line {number}", ",".join(map(str, row.values())), "numbers") from error


def _tum_rows(path: Path, lines: list[str]) -> Iterator[tuple[int, tuple[float, float, float]]]:
    for line in lines:
        try:
            time_s, x, y, z = (float(v) for v in line.split()[:4])
            yield round(time_s * NS), (x, y, z)
        except (ValueError, OverflowError) as error:
            raise InputError(str(path), f"the line {line[:60]!r}", "time x y z qx qy qz qw") from error


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
