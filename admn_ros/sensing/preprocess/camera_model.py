# SPDX-License-Identifier: Apache-2.0
"""Camera calibration (sensor_msgs/CameraInfo, REP-104) and rectification.

The conventions are those of image_geometry and image_proc: K, D, R and P describe the full image; binning and region of
interest define which part of it was read out. Integer coordinates are pixel centres.
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
"""Allowed numbers of coefficients of the distortion models of sensor_msgs, which have the order of OpenCV."""
_MAX_SIDE = 32766
"""Maximum side of an image in pixels; the maps of OpenCV have 16 bits."""
_LEAST_SHOWN = 0.25
"""Smallest part of a rectified image that shows something of the original one; with less the calibration is wrong."""


@dataclass(frozen=True)
class CameraModel:
    """One calibration, in pixels of the published images: after binning and region of interest.

    Attributes:
        width: width of the images in pixels.
        height: height of the images in pixels.
        frame_id: frame of the camera, without a leading slash.
        model: distortion model.
        distortion: distortion coefficients.
        matrix: K (3, 3), row by row.
        rotation: R (3, 3), row by row.
        projection: left part (3, 3) of P, row by row; K if the calibration has no P.
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
        """Whether images differ from those of a pinhole camera."""
        return any(self.distortion)

    def field_of_view_deg(self, rectified: bool) -> float:
        """Return the horizontal field of view in degrees, of rectified or of raw images (taken as a pinhole's)."""
        pinhole = self.projection if rectified else self.matrix
        focal, centre = pinhole[0], pinhole[2]
        return math.degrees(math.atan((centre + 0.5) / focal) + math.atan((self.width - 0.5 - centre) / focal))

    def of_size(self, width: int, height: int) -> CameraModel:
        """Return the calibration for images of another size.

        Raises:
            InputError: the size is neither that of the calibration nor a whole fraction of it.
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
    """Converts images of one calibration to those of a pinhole camera. The maps are computed once.

    Raises:
        InputError: the distortion model is unknown or has another number of coefficients, or the rectified images would
            be empty for the most part.
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
        shown = float(((x > -0.5) & (x < size[0] - 0.5) & (y > -0.5) & (y < size[1] - 0.5)).mean())
        if shown < _LEAST_SHOWN:
            raise InputError("d, k, r, p", f"a rectified image that is empty but for {shown:.0%}",
                             f"a calibration of these images, which shows {_LEAST_SHOWN:.0%} or more")
        # Fixed-point maps are the fastest.
        self._smooth = cv2.convertMaps(x, y, cv2.CV_16SC2)
        self._nearest, _ = cv2.convertMaps(x, y, cv2.CV_16SC2, nninterpolation=True)
        self._nothing = np.empty(0, np.uint16)  # A map of whole pixels has no second part.

    def __call__(self, image: npt.NDArray[Any]) -> Array:
        """Return the rectified image, of the same shape and type.

        Colours, uint8 (H, W, 3), are interpolated and black outside of the field of view. Depth, float32 (H, W), comes
        from the nearest pixel, because the mean of two surfaces is none of them, and is NaN outside.
        """
        if image.dtype.kind == "f":
            return np.asarray(cv2.remap(image, self._nearest, self._nothing, cv2.INTER_NEAREST,
                                        borderMode=cv2.BORDER_CONSTANT, borderValue=math.nan))
        return np.asarray(cv2.remap(image, *self._smooth, cv2.INTER_LINEAR,
                                    borderMode=cv2.BORDER_CONSTANT, borderValue=0))


def read_camera_info(message: Any) -> CameraModel:
    """Read the calibration in a message.

    Raises:
        InputError: a field is invalid: no size, values that are not finite, a focal length that is not positive (0
            marks an uncalibrated camera), a matrix of another form, R that is no rotation, a region outside of the
            image, or an unknown distortion model.
    """
    full = _size("", message.width, message.height)
    k, r, p = (_finite(name, getattr(message, name), count) for name, count in (("k", 9), ("r", 9), ("p", 12)))
    if k[0] <= 0 or k[4] <= 0:
        raise InputError("k", f"focal lengths {k[0]:g} and {k[4]:g}", "positive values; 0 marks an uncalibrated camera")
    known = p[0] > 0 and p[5] > 0
    for name, row in (("k", k[6:9]), ("p", p[8:11] if known else k[6:9])):
        if row != (0, 0, 1):
            raise InputError(name, f"the last row {', '.join(f'{v:g}' for v in row)}", "0, 0, 1; is it transposed?")
    _check_rotation(r)
    left, top, width, height = _region(message.roi, full)
    across, down = max(1, int(message.binning_x)), max(1, int(message.binning_y))
    projection = (*p[0:3], *p[4:7], *p[8:11]) if known else k
    camera = CameraModel(
        width // across, height // down, str(message.header.frame_id).lstrip("/"), str(message.distortion_model),
        _finite("d", message.d, None), _read_out(k, left, top, across, down),
        r if any(r) else tuple(np.eye(3).reshape(-1).tolist()), _read_out(projection, left, top, across, down))
    _size("binning_", camera.width, camera.height)
    check_distortion(camera)
    return camera


def check_distortion(camera: CameraModel) -> None:
    """Check that the distortion of a calibration can be corrected.

    Raises:
        InputError: the model is unknown, or has another number of coefficients.
    """
    if not camera.distorts:
        return
    if camera.model not in DISTORTION_MODELS:
        raise InputError("distortion_model", repr(camera.model), ", ".join(DISTORTION_MODELS))
    allowed = DISTORTION_MODELS[camera.model]
    if len(camera.distortion) not in allowed:
        raise InputError("d", f"{len(camera.distortion)} values",
                         f"{' or '.join(map(str, allowed))} with {camera.model}")


def _check_rotation(r: tuple[float, ...]) -> None:
    """Check that R is a rotation, to a few digits, or all zero (not set)."""
    matrix = np.array(r).reshape(3, 3)
    if any(r) and not (np.allclose(matrix @ matrix.T, np.eye(3), atol=0.02) and np.linalg.det(matrix) > 0):
        raise InputError("r", ", ".join(f"{v:g}" for v in r), "a rotation, or 0 if it is not set")


def _size(prefix: str, width: int, height: int) -> tuple[int, int]:
    for name, value in (("width", width), ("height", height)):
        if not 1 <= value <= _MAX_SIDE:
            field = f"{prefix}{'x' if name == 'width' else 'y'}" if prefix else name
            raise InputError(field, f"an image of {width}x{height}", f"sides of 1 to {_MAX_SIDE}")
    return int(width), int(height)


def _finite(name: str, values: Sequence[float], count: int | None) -> tuple[float, ...]:
    numbers = tuple(float(v) for v in values)
    if count is not None and len(numbers) != count:
        raise InputError(name, f"{len(numbers)} values", count)
    if not all(map(math.isfinite, numbers)):
        raise InputError(name, ", ".join(f"{n:g}" for n in numbers), "finite values")
    return numbers


def _region(roi: Any, full: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the region; the full image if it is empty."""
    left, top, width, height = (int(v) for v in (roi.x_offset, roi.y_offset, roi.width, roi.height))
    if not width and not height:
        return 0, 0, *full
    if not width or not height or left + width > full[0] or top + height > full[1]:
        raise InputError("roi", f"{width}x{height} at {left}, {top}", f"a region of {full[0]}x{full[1]}")
    return left, top, width, height


def _read_out(matrix: tuple[float, ...], left: int, top: int, across: int, down: int) -> tuple[float, ...]:
    """Return K or P (3, 3) for a region with binned pixels, as in image_geometry."""
    m = np.array(matrix).reshape(3, 3)
    m[0, 2] -= left
    m[1, 2] -= top
    m[0] /= across
    m[1] /= down
    return tuple(m.reshape(-1).tolist())
