# SPDX-License-Identifier: Apache-2.0
"""Construction of messages from arrays, as rosbags objects, for writing bags without ROS.

Each function validates its arrays, so that readers accept the messages. Stamps are nanoseconds since the epoch,
quaternions are (x, y, z, w), and positions are in metres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rosbags.typesys.stores import ros2_jazzy as ros
from scipy.spatial.transform import Rotation

from admn_ros.config import BUDGET_UNITS, BudgetUnit
from admn_ros.errors import InputError
from admn_ros.recordings.bag_types import typestore
from admn_ros.recordings.shard_format import encode
from admn_ros.sample import Modality

Message = Any
"""A message object of rosbags: a dataclass with the fields of the .msg, and NumPy arrays."""
Floats = npt.NDArray[np.floating[Any]]

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
POSE = "geometry_msgs/msg/PoseStamped"
TEMPERATURE = "sensor_msgs/msg/Temperature"
POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
TF = "tf2_msgs/msg/TFMessage"
AUDIO_FRAME = "admn_ros/msg/AudioFrame"
COMPUTE_BUDGET = "admn_ros/msg/ComputeBudget"



@dataclass(frozen=True)
class Transform:
    """A static transform.

    Attributes:
        parent: parent frame.
        child: child frame.
        translation_m: position of the child in the parent in metres.
        quaternion: rotation of the child in the parent.
    """

    parent: str
    child: str
    translation_m: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]


def header(stamp_ns: int, frame_id: str) -> Message:
    """Return a std_msgs/Header."""
    return ros.std_msgs__msg__Header(_time(stamp_ns), frame_id)


def rgb_image(rgb: npt.NDArray[np.uint8], stamp_ns: int, frame_id: str) -> Message:
    """Return a sensor_msgs/Image `rgb8` from uint8 (H, W, 3)."""
    _check(rgb, "rgb", np.uint8, 3)
    if rgb.shape[2] != 3:
        raise InputError("rgb", f"{rgb.shape[2]} channels", "3")
    return _image(rgb, "rgb8", 3, stamp_ns, frame_id)


def depth_image(depth_m: npt.NDArray[np.float32], stamp_ns: int, frame_id: str) -> Message:
    """Return a sensor_msgs/Image `32FC1` from float32 (H, W) metres, NaN where invalid (REP-118)."""
    _check(depth_m, "depth_m", np.float32, 2)
    return _image(depth_m, "32FC1", 4, stamp_ns, frame_id)


def depth_image_mm(depth_mm: npt.NDArray[np.uint16], stamp_ns: int, frame_id: str) -> Message:
    """Return a sensor_msgs/Image `16UC1` from uint16 (H, W) millimetres, 0 where invalid (REP-118)."""
    _check(depth_mm, "depth_mm", np.uint16, 2)
    return _image(depth_mm, "16UC1", 2, stamp_ns, frame_id)


def compressed_rgb_image(rgb: npt.NDArray[np.uint8], stamp_ns: int, frame_id: str, *, quality: int = 90) -> Message:
    """Return a JPEG sensor_msgs/CompressedImage from uint8 (H, W, 3); `quality` is 1 to 100."""
    _check(rgb, "rgb", np.uint8, 3)
    file = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return ros.sensor_msgs__msg__CompressedImage(header(stamp_ns, frame_id), "rgb8; jpeg compressed bgr8",
                                                 np.asarray(file, np.uint8).reshape(-1))


def compressed_depth_image(depth_m: npt.NDArray[np.float32], stamp_ns: int, frame_id: str) -> Message:
    """Return a compressedDepth sensor_msgs/CompressedImage from float32 (H, W) metres, NaN where invalid.

    It holds whole millimetres: 16UC1 in a PNG file behind the 12 bytes of compressed_depth_image_transport, zero here.
    """
    _check(depth_m, "depth_m", np.float32, 2)
    file = cv2.imencode(".png", encode(Modality.DEPTH, depth_m), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    return ros.sensor_msgs__msg__CompressedImage(header(stamp_ns, frame_id), "16UC1; compressedDepth png",
                                                 np.concatenate([np.zeros(12, np.uint8), file.reshape(-1)]))


def radar_image(magnitude: npt.NDArray[np.float32], stamp_ns: int, frame_id: str) -> Message:
    """Return a sensor_msgs/Image `32FC1` from float32 (rows, columns), linear magnitude, not negative."""
    _check(magnitude, "magnitude", np.float32, 2)
    if not (magnitude >= 0).all():
        raise InputError("magnitude", "negative or NaN values", "linear magnitude, at least 0")
    return _image(magnitude, "32FC1", 4, stamp_ns, frame_id)


def audio_frame(samples: Floats | npt.NDArray[np.int16], sample_rate_hz: int, stamp_ns: int, frame_id: str) -> Message:
    """Return an admn_ros/AudioFrame `S16LE`.

    Args:
        samples: sound (samples, channels), int16, or floating point with full scale 1.0, which is clipped.
        sample_rate_hz: sample rate in Hz.
        stamp_ns: time of the last sample.
        frame_id: frame of the microphones.
    """
    if samples.ndim != 2 or samples.size == 0:
        raise InputError("samples", f"shape {samples.shape}", "(samples, channels), not empty")
    if samples.dtype != np.int16:
        if not np.isfinite(samples).all():
            raise InputError("samples", "NaN or infinity", "finite values")
        samples = np.clip(np.round(samples * 32768.0), -32768, 32767).astype(np.int16)
    data = np.frombuffer(np.ascontiguousarray(samples, dtype="<i2").tobytes(), np.uint8)
    return typestore().types[AUDIO_FRAME](
        header=header(stamp_ns, frame_id), sample_rate=sample_rate_hz, channels=samples.shape[1],
        encoding="S16LE", data=data)


def camera_info(intrinsics: Floats, width: int, height: int, stamp_ns: int, frame_id: str, *,
                distortion: Sequence[float] = (0.0,) * 5) -> Message:
    """Return a sensor_msgs/CameraInfo of a single camera from its 3x3 matrix K (pixels), model plumb_bob."""
    k = np.asarray(intrinsics, dtype=np.float64)
    if k.shape != (3, 3) or not np.isfinite(k).all() or k[0, 0] <= 0 or k[1, 1] <= 0:
        raise InputError("intrinsics", f"shape {k.shape}", "finite (3, 3) with positive focal lengths")
    projection = np.hstack([k, np.zeros((3, 1))])
    return ros.sensor_msgs__msg__CameraInfo(
        header=header(stamp_ns, frame_id), height=height, width=width, distortion_model="plumb_bob",
        d=np.asarray(distortion, dtype=np.float64), k=k.reshape(-1), r=np.eye(3).reshape(-1), p=projection.reshape(-1),
        binning_x=0, binning_y=0,
        roi=ros.sensor_msgs__msg__RegionOfInterest(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False))


def pose_stamped(position_m: Sequence[float], quaternion: Sequence[float], stamp_ns: int, frame_id: str) -> Message:
    """Return a geometry_msgs/PoseStamped."""
    return ros.geometry_msgs__msg__PoseStamped(header(stamp_ns, frame_id), _pose(position_m, quaternion))


def compute_budget(limit: float, unit: BudgetUnit, stamp_ns: int, *, source: str = "", priority: int = 0,
                   valid_for_ns: int = 0) -> Message:
    """Return an admn_ros/ComputeBudget; with `valid_for_ns` 0 it is valid until its source replaces it."""
    if unit not in BUDGET_UNITS:
        raise InputError("unit", repr(unit), ", ".join(BUDGET_UNITS))
    if math.isnan(limit) or limit < 0:
        raise InputError("limit", limit, "[0, inf]")
    valid = ros.builtin_interfaces__msg__Duration(*divmod(valid_for_ns, 10**9))
    return typestore().types[COMPUTE_BUDGET](
        header=header(stamp_ns, ""), unit=BUDGET_UNITS.index(unit), limit=float(limit), priority=priority,
        source=source, valid_for=valid)


def temperature(celsius: float, stamp_ns: int, frame_id: str, *, variance: float = 0.0) -> Message:
    """Return a sensor_msgs/Temperature; the variance is in square degrees, 0 if unknown."""
    return ros.sensor_msgs__msg__Temperature(header(stamp_ns, frame_id), celsius, variance)


def point_cloud(points: npt.NDArray[np.float32], fields: Sequence[str], stamp_ns: int, frame_id: str) -> Message:
    """Return an unordered sensor_msgs/PointCloud2 from float32 (P, len(fields)), with x, y, z in metres."""
    if points.dtype != np.float32 or points.ndim != 2 or points.shape[1] != len(fields):
        raise InputError("points", f"{points.dtype} {points.shape}", f"float32 with columns {', '.join(fields)}")
    described = [ros.sensor_msgs__msg__PointField(name, 4 * k, 7, 1) for k, name in enumerate(fields)]  # 7: FLOAT32
    data = np.ascontiguousarray(points, "<f4").reshape(-1).view(np.uint8)
    return ros.sensor_msgs__msg__PointCloud2(
        header(stamp_ns, frame_id), 1, len(points), described, False, 4 * len(fields), 4 * len(fields) * len(points),
        data, True)


def static_transforms(transforms: Sequence[Transform], stamp_ns: int) -> Message:
    """Return a tf2_msgs/TFMessage for `/tf_static`, which must be a latched topic."""
    return ros.tf2_msgs__msg__TFMessage([
        ros.geometry_msgs__msg__TransformStamped(
            header=header(stamp_ns, t.parent), child_frame_id=t.child,
            transform=ros.geometry_msgs__msg__Transform(
                ros.geometry_msgs__msg__Vector3(*map(float, t.translation_m)), _quaternion(t.quaternion)))
        for t in transforms])


def quaternion_of(rotation: Floats) -> tuple[float, float, float, float]:
    """Return the quaternion (x, y, z, w), w not negative, of a 3x3 rotation matrix.

    A matrix that is only nearly orthonormal is replaced with the nearest rotation.
    """
    x, y, z, w = Rotation.from_matrix(np.asarray(rotation, dtype=np.float64)).as_quat(canonical=True).tolist()
    return x, y, z, w


def _time(stamp_ns: int) -> Message:
    if not 0 <= stamp_ns < 2**31 * 10**9:
        raise InputError("stamp_ns", stamp_ns, "[0, 2^31 s)")
    seconds, nanoseconds = divmod(int(stamp_ns), 10**9)
    return ros.builtin_interfaces__msg__Time(seconds, nanoseconds)


def _check(array: npt.NDArray[Any], field: str, dtype: npt.DTypeLike, ndim: int) -> None:
    if array.dtype != dtype or array.ndim != ndim or array.size == 0:
        raise InputError(field, f"{array.dtype} {array.shape}", f"{np.dtype(dtype)} with {ndim} axes, not empty")


def _image(array: npt.NDArray[Any], encoding: str, pixel_bytes: int, stamp_ns: int, frame_id: str) -> Message:
    height, width = array.shape[:2]
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return ros.sensor_msgs__msg__Image(
        header=header(stamp_ns, frame_id), height=height, width=width, encoding=encoding, is_bigendian=0,
        step=width * pixel_bytes, data=little.reshape(-1).view(np.uint8))


def _quaternion(quaternion: Sequence[float]) -> Message:
    norm = math.sqrt(sum(float(v) ** 2 for v in quaternion)) if len(quaternion) == 4 else 0.0
    if not abs(norm - 1.0) < 1e-3:
        raise InputError("quaternion", tuple(quaternion), "a unit quaternion (x, y, z, w)")
    return ros.geometry_msgs__msg__Quaternion(*(float(v) for v in quaternion))


def _pose(position_m: Sequence[float], quaternion: Sequence[float]) -> Message:
    if len(position_m) != 3 or not all(math.isfinite(v) for v in position_m):
        raise InputError("position_m", tuple(position_m), "three finite numbers")
    return ros.geometry_msgs__msg__Pose(
        ros.geometry_msgs__msg__Point(*(float(v) for v in position_m)), _quaternion(quaternion))
