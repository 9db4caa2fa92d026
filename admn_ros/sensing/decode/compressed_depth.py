# SPDX-License-Identifier: Apache-2.0
"""Depth images as image_transport's compressedDepth sends them, and as plain PNG files."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.sensing.decode.image_header import read_image_header
from admn_ros.sensing.decode.images import (
    CompressedImageMessage,
    bytes_of,
    check_size,
    depth_of_metres,
    depth_of_millimetres,
)

_HEADER = struct.Struct("<iff")  # format (not used), and A and B of inverse depth
_ENCODINGS = "16UC1, mono16, 32FC1 (then `; compressedDepth png`), or a bare PNG of 16 bits"


def decode_compressed_depth(msg: CompressedImageMessage) -> npt.NDArray[np.float32]:
    """Depth to float32 (H, W), metres along the optical axis, NaN where invalid.

    compressedDepth puts 12 bytes before a PNG of 16 bits and says in `format` what its pixels are. 16UC1 and mono16:
    millimetres. 32FC1: inverse depth p, of which A / (p - B) is metres, with A and B from the 12 bytes; 0 is invalid.
    A PNG of 16 bits without these bytes is millimetres.

    Raises:
        InputError: another encoding (RVL too), not a PNG of 16 bits, too large, cut off, or broken.
    """
    data = bytes_of(msg.data)
    if read_image_header(data.data) is not None:
        return depth_of_millimetres(_pixels(data))
    encoding = msg.format.partition(";")[0].strip()
    if encoding not in ("16UC1", "mono16", "32FC1") or msg.format.rstrip().endswith("rvl"):
        raise InputError("format", repr(msg.format), _ENCODINGS)
    if data.size <= _HEADER.size:
        raise InputError("data", f"{data.size} bytes", f"{_HEADER.size} bytes and a PNG file")
    pixels = _pixels(data[_HEADER.size:])
    if encoding != "32FC1":
        return depth_of_millimetres(pixels)
    _, a, b = _HEADER.unpack(data[:_HEADER.size].tobytes())
    if not (np.isfinite(a) and np.isfinite(b)):
        raise InputError("data", f"inverse depth with A {a}, B {b}", "finite numbers")
    with np.errstate(divide="ignore"):
        metres = np.float32(a) / (pixels.astype(np.float32) - np.float32(b))
    metres[pixels == 0] = np.nan
    return depth_of_metres(metres)


def _pixels(png: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """Pixels uint16 (H, W) of a PNG file; its size is looked at before it is decompressed."""
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
