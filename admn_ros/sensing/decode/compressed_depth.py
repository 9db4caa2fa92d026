# SPDX-License-Identifier: Apache-2.0
"""Decoding of compressed depth images: compressedDepth of image_transport, and plain PNG files."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.sensing.decode.compressed_format import CompressedFormat
from admn_ros.sensing.decode.image_header import read_image_header
from admn_ros.sensing.decode.images import (
    CompressedImageMessage,
    bytes_of,
    check_size,
    depth_of_metres,
    depth_of_millimetres,
)

_HEADER = struct.Struct("<iff")
"""Format (not used), and the parameters A and B of inverse depth."""
_ENCODINGS = "16UC1, mono16, 32FC1 (then `; compressedDepth png`), or a bare PNG of 16 bits"


def decode_compressed_depth(msg: CompressedImageMessage) -> npt.NDArray[np.float32]:
    """Decode depth to float32 (H, W), metres along the optical axis, NaN where invalid.

    A compressedDepth message has 12 bytes before a 16-bit PNG, and names the encoding of the pixels in `format`. 16UC1
    and mono16 are millimetres. 32FC1 is inverse depth p: the depth in metres is A / (p - B), with A and B from the 12
    bytes, and 0 is invalid. A 16-bit PNG without these bytes is millimetres, unless `format` names another encoding.

    Raises:
        InputError: the encoding is another one (such as RVL), the parameters of inverse depth are not usable, or the
            PNG does not have 16 bits and one channel, is too large, cut off, or broken.
    """
    data, encoding = bytes_of(msg.data), CompressedFormat.parse(msg.format).encoding
    if read_image_header(data.data) is not None:
        if encoding not in ("", "16UC1", "mono16"):
            raise InputError("format", repr(msg.format), _ENCODINGS)
        return depth_of_millimetres(_pixels(data))
    if encoding not in ("16UC1", "mono16", "32FC1") or msg.format.rstrip().endswith("rvl"):
        raise InputError("format", repr(msg.format), _ENCODINGS)
    if data.size <= _HEADER.size:
        raise InputError("data", f"{data.size} bytes", f"{_HEADER.size} bytes and a PNG file")
    pixels = _pixels(data[_HEADER.size:])
    if encoding != "32FC1":
        return depth_of_millimetres(pixels)
    _, a, b = _HEADER.unpack(data[:_HEADER.size].tobytes())
    if not (np.isfinite(a) and np.isfinite(b) and a > 0):
        raise InputError("data", f"inverse depth with A {a}, B {b}", "finite numbers, A above 0")
    with np.errstate(divide="ignore"):
        metres = np.float32(a) / (pixels.astype(np.float32) - np.float32(b))
    metres[pixels == 0] = np.nan
    return depth_of_metres(metres)


def _pixels(png: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """Decode a PNG file to uint16 (H, W). The size is checked before decompression."""
    header = read_image_header(png.data)
    if header is None or header.kind != "png" or header.bits != 16:
        found = "no PNG" if header is None else f"{header.kind} with {header.bits} bits"
        raise InputError("data", found, "a PNG file with 16 bits per pixel")
    check_size(header.width, header.height)
    try:
        pixels = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise InputError("data", "a broken png file", "a complete file") from error
    if pixels is None or pixels.ndim != 2 or pixels.dtype != np.uint16:
        raise InputError("data", "a broken png file, or one with colours", "a complete file with one channel")
    return pixels
