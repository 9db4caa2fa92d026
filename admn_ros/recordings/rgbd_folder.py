# SPDX-License-Identifier: Apache-2.0
"""Conversion of folders in the layout of Microsoft 7-Scenes (as in tsdf-fusion-python) to bags.

Files: `camera-intrinsics.txt` (3x3, pixels), and for each frame `frame-XXXXXX.color.jpg` (or .png),
`frame-XXXXXX.depth.png` (uint16 millimetres, 0 and 65535 invalid) and `frame-XXXXXX.pose.txt`
(4x4, camera to world, metres). The layout has one matrix for both cameras and does not register depth to colour, and so
does the bag. The world frame is that of the mapping; z need not point up.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.files import other_content, read_bytes
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_writer import BagWriter

INTRINSICS = "camera-intrinsics.txt"
INVALID_MM = (0, 65535)
POSE_TOPIC = "/ground_truth/pose"
_FRAME = re.compile(r"frame-(\d{6})\.(color\.jpg|color\.png|depth\.png|pose\.txt)")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

Progress = Callable[[int, int], None]
Matrix = npt.NDArray[np.float64]


@dataclass
class RgbdSummary:
    """Result of a conversion.

    Attributes:
        out: folder of the bag.
        frames: number of converted frames.
        messages: number of messages by topic.
        seconds: duration of the recording.
        skipped: error message by the number of each skipped frame.
    """

    out: Path
    frames: int = 0
    messages: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    skipped: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Frame:
    rgb: npt.NDArray[np.uint8]
    depth_mm: npt.NDArray[np.uint16]
    pose: Matrix


def convert_rgbd_folder(folder: str | Path, out: str | Path, *, storage: str = "mcap", rate_hz: float = 30.0,
                        node: str = "camera", depth: Literal["16UC1", "32FC1"] = "16UC1", limit: int | None = None,
                        start_ns: int = 1_000_000_000, progress: Progress | None = None) -> RgbdSummary:
    """Convert a folder into a bag with the topics of one sensor node.

    Topics: `/<node>/rgb/image_raw` (rgb8), `/<node>/rgb/camera_info`, `/<node>/depth/image_raw`,
    `/<node>/depth/camera_info` in frame `<node>_optical` (REP-103: z forward, x right), and
    `/ground_truth/pose` (PoseStamped: the camera's pose in `map`). Stamp of a frame: start_ns + its
    number / rate_hz, so that a folder with every 4th frame of a 30 Hz recording keeps its true pace.

    A frame with a missing or broken file is skipped and named in the summary.

    Args:
        folder: folder to read.
        out: bag folder to create; it must not exist.
        storage: "mcap" or "sqlite3".
        rate_hz: frame numbers per second.
        node: name of the sensor node, the first part of the topics and of the frame.
        depth: 16UC1 (millimetres, 0 invalid) or 32FC1 (metres, NaN invalid).
        limit: maximum number of frames; None for all.
        start_ns: stamp of frame number 0 in nanoseconds.
        progress: function called with the number of frames done and in total after each frame.

    Raises:
        InputError: the folder, its intrinsics, or all frames cannot be used, or `out` exists.
    """
    root = Path(folder)
    _check_arguments(rate_hz, node, depth, limit)
    numbers = _numbers(root)[:limit]
    intrinsics = _matrix(root / INTRINSICS, 3)
    if intrinsics[0, 0] <= 0 or intrinsics[1, 1] <= 0 or not np.array_equal(intrinsics[2], (0, 0, 1)):
        raise InputError(str(root / INTRINSICS), intrinsics.tolist(), "a camera matrix: fx, fy > 0, last row 0 0 1")
    summary = RgbdSummary(Path(out))
    with BagWriter(out, storage) as bag:
        for done, number in enumerate(numbers, start=1):
            try:
                frame = _load(root, number)
            except InputError as error:
                summary.skipped[number] = str(error)
            else:
                stamp_ns = start_ns + round(number * 1e9 / rate_hz)
                for topic, kind, message in _messages(frame, intrinsics, node, depth, stamp_ns):
                    bag.write(topic, kind, message, stamp_ns)
                    summary.messages[topic] = summary.messages.get(topic, 0) + 1
                summary.frames += 1
            if progress is not None:
                progress(done, len(numbers))
        if not summary.frames:
            raise InputError(str(root), f"{len(numbers)} frames, none usable; first: {summary.skipped[numbers[0]]}",
                             "at least one frame with color, depth and pose")
    used = [n for n in numbers if n not in summary.skipped]
    summary.seconds = (used[-1] - used[0]) / rate_hz
    return summary


def _check_arguments(rate_hz: float, node: str, depth: str, limit: int | None) -> None:
    if not (np.isfinite(rate_hz) and rate_hz > 0):
        raise InputError("rate_hz", rate_hz, "a positive number")
    if not _NAME.fullmatch(node):
        raise InputError("node", repr(node), "a name of letters, digits and _")
    if depth not in ("16UC1", "32FC1"):
        raise InputError("depth", repr(depth), "16UC1 or 32FC1")
    if limit is not None and limit < 1:
        raise InputError("limit", limit, "at least 1")


def _numbers(root: Path) -> list[int]:
    """Return the numbers of all frames with at least one file, ascending."""
    if not root.is_dir():
        raise InputError(str(root), "no folder", "a folder with frame-XXXXXX.color.jpg, .depth.png and .pose.txt")
    found = {int(match[1]) for path in root.iterdir() if (match := _FRAME.fullmatch(path.name))}
    if not found:
        raise InputError(str(root), "no frames", "files frame-XXXXXX.color.jpg, .depth.png and .pose.txt")
    return sorted(found)


def _load(root: Path, number: int) -> _Frame:
    stem = f"frame-{number:06d}"
    color = root / f"{stem}.color.png"
    if not color.exists():
        color = root / f"{stem}.color.jpg"
    bgr = _image(color, cv2.IMREAD_COLOR)
    depth_path = root / f"{stem}.depth.png"
    depth = _image(depth_path, cv2.IMREAD_UNCHANGED)
    if depth.dtype != np.uint16 or depth.ndim != 2:
        raise InputError(str(depth_path), f"{depth.dtype} with shape {depth.shape}", "uint16 (H, W) millimetres")
    depth = np.where(np.isin(depth, INVALID_MM), np.uint16(0), depth)
    rgb = np.ascontiguousarray(bgr[:, :, ::-1])
    return _Frame(rgb, depth, _camera_pose(root / f"{stem}.pose.txt"))


def _image(path: Path, flags: int) -> npt.NDArray[Any]:
    data = np.frombuffer(read_bytes(path, "an image file"), np.uint8)
    # The matrix of the camera is that of the pixels as they are stored.
    image: npt.NDArray[Any] | None = cv2.imdecode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION) if data.size else None
    if image is None:
        raise InputError(str(path), other_content(data[:64].tobytes()) or f"{data.size} bytes that are no image",
                         "an intact image file")
    return image


def _matrix(path: Path, size: int) -> Matrix:
    text = read_bytes(path, f"{size}x{size} numbers")
    try:
        rows = [[float(word) for word in line.split()] for line in text.decode("ascii").splitlines() if line.strip()]
    except ValueError as error:  # invalid numbers, or bytes that are not ASCII
        raise InputError(str(path), str(error), f"{size}x{size} numbers") from error
    if [len(row) for row in rows] != [size] * size:
        raise InputError(str(path), f"rows of {[len(row) for row in rows]} numbers", f"{size} rows of {size}")
    matrix = np.array(rows)
    if not np.isfinite(matrix).all():
        raise InputError(str(path), "NaN or infinity (lost tracking)", "finite numbers")
    return matrix


def _camera_pose(path: Path) -> Matrix:
    pose = _matrix(path, 4)
    rotation = pose[:3, :3]
    # Published poses have few digits and are only nearly orthonormal.
    rigid = np.allclose(rotation @ rotation.T, np.eye(3), atol=0.02) and np.linalg.det(rotation) > 0
    if not rigid or not np.allclose(pose[3], (0, 0, 0, 1)):
        raise InputError(str(path), "a matrix that is no rigid motion", "4x4: rotation, translation, last row 0 0 0 1")
    return pose


def _messages(frame: _Frame, intrinsics: Matrix, node: str, depth: str,
              stamp_ns: int) -> list[tuple[str, str, make.Message]]:
    optical = f"{node}_optical"
    if depth == "16UC1":
        image = make.depth_image_mm(frame.depth_mm, stamp_ns, optical)
    else:
        metres = frame.depth_mm.astype(np.float32) / np.float32(1000)
        image = make.depth_image(np.where(frame.depth_mm == 0, np.float32(np.nan), metres), stamp_ns, optical)
    rgb_height, rgb_width = frame.rgb.shape[:2]
    height, width = frame.depth_mm.shape
    pose = make.pose_stamped(frame.pose[:3, 3].tolist(), make.quaternion_of(frame.pose[:3, :3]), stamp_ns, "map")
    return [
        (f"/{node}/rgb/image_raw", make.IMAGE, make.rgb_image(frame.rgb, stamp_ns, optical)),
        (f"/{node}/rgb/camera_info", make.CAMERA_INFO,
         make.camera_info(intrinsics, rgb_width, rgb_height, stamp_ns, optical)),
        (f"/{node}/depth/image_raw", make.IMAGE, image),
        (f"/{node}/depth/camera_info", make.CAMERA_INFO,
         make.camera_info(intrinsics, width, height, stamp_ns, optical)),
        (POSE_TOPIC, make.POSE, pose),
    ]
