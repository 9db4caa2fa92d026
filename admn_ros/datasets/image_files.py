# SPDX-License-Identifier: Apache-2.0
"""Decoding of image files, with the same checks as for messages."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.files import other_content
from admn_ros.sensing.decode.compressed_images import decode_compressed_rgb
from admn_ros.sensing.decode.image_header import read_image_header
from admn_ros.sensing.decode.images import MAX_PIXELS

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Encoded:
    data: Bytes
    format: str = ""


def rgb_of(data: bytes | Bytes, place: str) -> Bytes:
    """Decode a JPEG or PNG file to uint8 (H, W, 3), RGB order.

    Args:
        data: content of the file.
        place: name of the file, for errors.

    Raises:
        InputError: the file is another one, broken, cut off or too large; the field begins with `place`.
    """
    _check_content(data, place, "a JPEG or PNG file")
    try:
        return decode_compressed_rgb(_Encoded(np.frombuffer(data, np.uint8)))
    except InputError as error:
        raise error.within(place) from error


def grey_of(data: bytes | Bytes, place: str) -> npt.NDArray[np.float32]:
    """Decode a JPEG or PNG file to its brightness, float32 (H, W) in [0, 1].

    Raises:
        InputError: see `rgb_of`.
    """
    grey = cv2.cvtColor(rgb_of(data, place), cv2.COLOR_RGB2GRAY)
    return np.asarray(grey / 255, dtype=np.float32)


def depth_png_of(data: bytes, place: str, metres_per_unit: float = 0.001) -> npt.NDArray[np.float32]:
    """Decode a 16-bit grey PNG to depth float32 (H, W) in metres, NaN where it is 0.

    Args:
        data: content of the file.
        place: name of the file, for errors.
        metres_per_unit: size of a unit in metres.

    Raises:
        InputError: the file is no such PNG, broken, or too large.
    """
    _check_content(data, place, "a 16-bit grey PNG")
    try:
        header = read_image_header(data)
    except InputError:
        header = None
    if header is None or header.kind != "png" or header.bits != 16 or header.width * header.height > MAX_PIXELS:
        raise InputError(place, f"{len(data)} bytes that are no 16-bit PNG", "a 16-bit grey PNG")
    try:
        units = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        units = None
    if units is None or units.ndim != 2 or units.dtype != np.uint16:
        raise InputError(place, "a broken PNG" if units is None else f"{units.dtype} {units.shape}",
                         "a 16-bit grey PNG")
    return metres_of(units, metres_per_unit)


def metres_of(units: npt.NDArray[np.generic], metres_per_unit: float) -> npt.NDArray[np.float32]:
    """Convert depth in whole units (H, W) to float32 metres, NaN where it is 0."""
    metres: npt.NDArray[np.float32] = (units.astype(np.float64) * metres_per_unit).astype(np.float32)
    metres[units == 0] = np.nan
    return metres


def _check_content(data: bytes | Bytes, place: str, allowed: str) -> None:
    """Refuse by name what a failed download leaves in the place of an image."""
    other = other_content(bytes(data[:64]))
    if other is not None:
        raise InputError(place, other, allowed)
