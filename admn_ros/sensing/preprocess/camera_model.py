# SPDX-License-Identifier: Apache-2.0
"""A camera's calibration (sensor_msgs/CameraInfo, REP-104): what it says, and pictures without distortion.

Conventions are those of image_geometry and image_proc: K, D, R and P are of the full picture; binning and region of
interest say what was read out of it. Integer coordinates are pixel centres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.sample import Array

Matrix = npt.NDArray[np.float64]

DISTORTION_MODELS: Final[dict[str, tuple[int, ...]]] = {
    "plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}
"""Numbers of coefficients of the models of sensor_msgs; OpenCV has their order."""
_LONGEST_SIDE = 32766  # OpenCV's maps hold 16 bits


@dataclass(frozen=True)
class CameraModel:
    """One calibration, in pixels of the pictures that come: after binning and region of interest.

    width, height: of the pictures. frame_id: of the camera, without a slash before it.
    matrix, rotation, projection: K (3, 3), R (3, 3) and the left part of P (3, 3), row by row; P is K where the
        camera was not told where its rectified picture lies.
    """

    width: int
    height: int
    frame_id: str
    model: str
    distortion: tuple[float, ...]
    matrix: tuple[float, ...]
    rotation: tuple[float, ...]
    projection: tuple[float, ...]

    @property
    def distorts(self) -> bool:
        """Whether a picture must be rectified to be that of a pinhole."""
        return any(self.distortion)

    def field_of_view_deg(self, rectified: bool) -> float:
        """Horizontal field of view, degrees, of the picture as it comes (a pinhole's) or as it is once rectified."""
        pinhole = self.projection if rectified else self.matrix
        focal, centre = pinhole[0], pinhole[2]
        return math.degrees(math.atan((centre + 0.5) / focal) + math.atan((self.width - 0.5 - centre) / focal))

    def of_size(self, width: int, height: int) -> CameraModel:
        """The same for pictures of a size.

        Raises:
            InputError: it is neither the calibration's nor that divided by a whole number.
        """
        if (width, height) == (self.width, self.height):
            return self
        factor = self.width // width
        if factor < 2 or (width * factor, height * factor) != (self.width, self.height):
            raise InputError("width", f"{self.width}x{self.height} for images of {width}x{height}",
                             "the size of the images, or a whole multiple of it")
        return CameraModel(width, height, self.frame_id, self.model, self.distortion,
                           _read_out(self.matrix, 0, 0, factor, factor), self.rotation,
                           _read_out(self.projection, 0, 0, factor, factor))


class Rectifier:
    """Turns pictures of one calibration into those of a pinhole camera. The maps are made once.

    Raises:
        InputError: the model of distortion is not known, or has another number of coefficients.
    """

    def __init__(self, camera: CameraModel) -> None:
        check_distortion(camera)
        size = (camera.width, camera.height)
        k, r, p = (np.array(m).reshape(3, 3) for m in (camera.matrix, camera.rotation, camera.projection))
        d = np.array(camera.distortion)
        if camera.model == "equidistant":
            x, y = cv2.fisheye.initUndistortRectifyMap(k, d, r, p, size, cv2.CV_32FC1)
        else:
            x, y = cv2.initUndistortRectifyMap(k, d, r, p, size, cv2.CV_32FC1)
        # Whole pixels and fractions of them: OpenCV's fastest form.
        self._smooth = cv2.convertMaps(x, y, cv2.CV_16SC2)
        self._nearest, _ = cv2.convertMaps(x, y, cv2.CV_16SC2, nninterpolation=True)
        self._nothing = np.empty(0, np.uint16)  # a map of whole pixels has no second part

    def __call__(self, picture: npt.NDArray[Any]) -> Array:
        """The rectified picture, of the same shape and type.

        Colours, uint8 (H, W, 3), are interpolated, and black where the camera saw nothing. Depth, float32 (H, W),
        is taken from the nearest pixel, since a mean of two surfaces is neither, and NaN where it saw nothing.
        """
        if picture.dtype.kind == "f":
            return np.asarray(cv2.remap(picture, self._nearest, self._nothing, cv2.INTER_NEAREST,
                                        borderMode=cv2.BORDER_CONSTANT, borderValue=math.nan))
        return np.asarray(cv2.remap(picture, *self._smooth, cv2.INTER_LINEAR,
                                    borderMode=cv2.BORDER_CONSTANT, borderValue=0))


def read_camera_info(message: Any) -> CameraModel:
    """The calibration in a message.

    Raises:
        InputError: a field that cannot be: no size, values that are not finite, a focal length that is not positive
            (a camera that was not calibrated says 0), a region outside of the picture, an unknown model.
    """
    full = _size("", message.width, message.height)
    k, r, p = (_finite(name, getattr(message, name), count) for name, count in (("k", 9), ("r", 9), ("p", 12)))
    if k[0] <= 0 or k[4] <= 0:
        raise InputError("k", f"focal lengths {k[0]:g} and {k[4]:g}", "positive ones; 0 is an uncalibrated camera's")
    left, top, width, height = _region(message.roi, full)
    across, down = max(1, int(message.binning_x)), max(1, int(message.binning_y))
    known = p[0] > 0 and p[5] > 0
    projection = (*p[0:3], *p[4:7], *p[8:11]) if known else k
    camera = CameraModel(
        width // across, height // down, str(message.header.frame_id).lstrip("/"), str(message.distortion_model),
        _finite("d", message.d, None), _read_out(k, left, top, across, down),
        r if any(r) else tuple(np.eye(3).reshape(-1).tolist()), _read_out(projection, left, top, across, down))
    _size("binning_", camera.width, camera.height)
    check_distortion(camera)
    return camera


def check_distortion(camera: CameraModel) -> None:
    """Refuse a distortion that is there and cannot be taken away.

    Raises:
        InputError: naming the models that can.
    """
    if not camera.distorts:
        return
    if camera.model not in DISTORTION_MODELS:
        raise InputError("distortion_model", repr(camera.model), ", ".join(DISTORTION_MODELS))
    allowed = DISTORTION_MODELS[camera.model]
    if len(camera.distortion) not in allowed:
        raise InputError("d", f"{len(camera.distortion)} values",
                         f"{' or '.join(map(str, allowed))} with {camera.model}")


def _size(prefix: str, width: int, height: int) -> tuple[int, int]:
    for name, value in (("width", width), ("height", height)):
        if not 1 <= value <= _LONGEST_SIDE:
            field = f"{prefix}{'x' if name == 'width' else 'y'}" if prefix else name
            raise InputError(field, f"a picture of {width}x{height}", f"sides of 1 to {_LONGEST_SIDE}")
    return int(width), int(height)


def _finite(name: str, values: Sequence[float], count: int | None) -> tuple[float, ...]:
    numbers = tuple(float(v) for v in values)
    if count is not None and len(numbers) != count:
        raise InputError(name, f"{len(numbers)} values", count)
    if not all(map(math.isfinite, numbers)):
        raise InputError(name, ", ".join(f"{n:g}" for n in numbers), "finite values")
    return numbers


def _region(roi: Any, full: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, width and height of what was read out; all of it where the region is empty."""
    left, top, width, height = (int(v) for v in (roi.x_offset, roi.y_offset, roi.width, roi.height))
    if not width and not height:
        return 0, 0, *full
    if not width or not height or left + width > full[0] or top + height > full[1]:
        raise InputError("roi", f"{width}x{height} at {left}, {top}", f"a region of {full[0]}x{full[1]}")
    return left, top, width, height


def _read_out(matrix: tuple[float, ...], left: int, top: int, across: int, down: int) -> tuple[float, ...]:
    """K or P (3, 3) of a picture of which a region was read, with pixels of several, as image_geometry has it."""
    m = np.array(matrix).reshape(3, 3)
    m[0, 2] -= left
    m[1, 2] -= top
    m[0] /= across
    m[1] /= down
    return tuple(m.reshape(-1).tolist())
