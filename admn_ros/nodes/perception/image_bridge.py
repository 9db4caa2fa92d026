# SPDX-License-Identifier: Apache-2.0
"""Conversion of images by the ROS package cv_bridge, where it is installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.sensing.decode.images import OPENCV, ColourConversion

_NAMES = {"uyvy": "yuv422", "yuyv": "yuv422_yuy2"}
"""Names of encodings in older releases of cv_bridge."""


class CvBridgeConversion:
    """`ColourConversion` by cv_bridge.

    Its Python interface takes a whole message. It is given one without padding and in the byte order of the machine,
    because it misreads rows whose step is no multiple of a pixel, and fails on the other byte order with NumPy 2.

    Raises:
        Exception: cv_bridge is not installed, or its compiled part cannot be loaded.
    """

    def __init__(self) -> None:
        library = importlib.import_module("cv_bridge")
        self._bridge, self._error = library.CvBridge(), library.CvBridgeError
        self.to_rgb(np.zeros((2, 2), np.uint8), "bayer_rggb8")  # Loads the compiled part.

    def layout(self, encoding: str) -> tuple[np.dtype[Any], int] | None:
        """Return type and number of channels of an encoding; None if cv_bridge does not know it."""
        try:
            name, channels = self._bridge.encoding_to_dtype_with_channels(encoding)
        except (self._error, KeyError):
            return None
        return np.dtype(name), channels

    def to_rgb(self, pixels: npt.NDArray[Any], encoding: str) -> npt.NDArray[Any]:
        """Convert pixels (H, W) or (H, W, channels) to RGB (H, W, 3) with as many bits.

        Raises:
            InputError: cv_bridge has no such conversion.
        """
        target = "rgb16" if pixels.dtype == np.uint16 else "rgb8"
        height, width = pixels.shape[:2]
        message = SimpleNamespace(
            height=height, width=width, encoding=_NAMES.get(encoding, encoding), is_bigendian=sys.byteorder == "big",
            step=pixels.nbytes // height, data=np.ascontiguousarray(pixels).reshape(-1).view(np.uint8))
        try:
            return np.asarray(self._bridge.imgmsg_to_cv2(message, target))
        except self._error as error:
            raise InputError("encoding", repr(encoding), f"an encoding that cv_bridge converts to {target}") from error


def colour_conversion(warn: Callable[[str], object]) -> ColourConversion:
    """Return the conversion by cv_bridge, or OpenCV's where cv_bridge is not installed or cannot be used.

    Args:
        warn: receives a warning if cv_bridge is installed and cannot be used.
    """
    try:
        return CvBridgeConversion()
    except Exception as error:  # A compiled part for another NumPy or OpenCV fails in many ways.
        if not (isinstance(error, ModuleNotFoundError) and error.name == "cv_bridge"):
            reason = " ".join(str(error).split()) or repr(error)
            warn(f"cv_bridge is installed and cannot be used ({reason}); images are converted by OpenCV")
    return OPENCV
