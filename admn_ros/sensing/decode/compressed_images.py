# SPDX-License-Identifier: Apache-2.0
"""Decoding of compressed colour images: JPEG and PNG files in sensor_msgs/CompressedImage."""

from __future__ import annotations

import re
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.sensing.decode.compressed_format import CompressedFormat
from admn_ros.sensing.decode.image_header import ImageHeader, read_image_header
from admn_ros.sensing.decode.images import (
    COLOUR_ENCODINGS,
    OPENCV,
    ColourConversion,
    CompressedImageMessage,
    bytes_of,
    check_size,
    rgb_of,
)

Bytes = npt.NDArray[np.uint8]
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
"""Marker of a JPEG file. Within compressed data, 0xff is followed by 0 or by a restart marker (ITU-T T.81, B.1.1)."""
_START, _END, _ALONE = b"\xd8", b"\xd9", b"\x01"
_COLOURS = re.compile(r"(rgb|bgr)a?(8|16)|mono(8|16)|8UC[1-4]|bayer.*|yuv.*|uyvy|yuyv|nv\d\d", re.IGNORECASE)


def decode_compressed_rgb(msg: CompressedImageMessage, conversion: ColourConversion = OPENCV) -> Bytes:
    """Decode a JPEG or PNG image to uint8 (H, W, 3), RGB order.

    The file itself determines size, depth and order of its colours. `format` tells what the file cannot: a grey file
    that is a Bayer pattern is converted to colours. A text without a known encoding, such as `jpeg`, says nothing. The
    size is read from the header of the file before decompression. Bytes after the end of the file are ignored. An
    orientation tag is ignored, because the pixels of a sensor do not move.

    Args:
        msg: compressed image.
        conversion: conversion of Bayer patterns.

    Raises:
        InputError: the data are neither JPEG nor PNG, are too large, cut off, or broken; they have 16 bits, and
            `format` names no encoding with 16 bits per colour; or `format` names depth, an unknown Bayer pattern, or a
            pattern although the file has colours, or colours of a pattern although it has none.
    """
    named = CompressedFormat.parse(msg.format)
    if named.depth or (named.encoding and not _COLOURS.fullmatch(named.encoding)):
        raise InputError("format", repr(msg.format), "a colour or grey image, not depth")
    if named.pattern and named.pattern not in COLOUR_ENCODINGS:
        raise InputError("format", repr(msg.format), "one of " + ", ".join(
            e for e in COLOUR_ENCODINGS if e.startswith("bayer")))
    data = bytes_of(msg.data)
    header = _header(data, msg.format, named)
    if not named.pattern:
        if named.encoding.lower().startswith("bayer") and header.channels == 1 and not named.target.startswith("mono"):
            raise InputError("format", repr(msg.format), "no target, or a grey one: the file has no colours")
        # A file with 16 bits is grey only if its format is refused above.
        pixels = _decompress(data, header, cv2.IMREAD_COLOR | (cv2.IMREAD_ANYDEPTH if header.bits > 8 else 0))
        rgb: npt.NDArray[Any] = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        return np.asarray(rgb if header.bits == 8 else rgb >> 8, dtype=np.uint8)
    if header.channels != 1:
        raise InputError("format", repr(msg.format), f"an encoding with {header.channels} channels, as the file has")
    pixels = _decompress(data, header, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    return rgb_of(pixels[..., None], f"{named.pattern.rstrip('0123456789')}{header.bits}", conversion)


def is_complete_jpeg(data: memoryview) -> bool:
    """Return whether a JPEG file reaches its end marker, whatever bytes follow it.

    The end marker of a preview in the header does not count, nor does one after the start of another file, as in a
    buffer that a driver reuses.
    """
    at = 2
    while found := _MARKER.search(data, at):
        if found[1] in (_START, _END):
            return found[1] == _END
        at = found.end()
        if found[1] != _ALONE:
            at += int.from_bytes(data[at:at + 2], "big")
    return False


def _header(data: Bytes, text: str, named: CompressedFormat) -> ImageHeader:
    """Read the header of the file, and check it before anything is decompressed."""
    header = read_image_header(data.data)
    if header is None:
        named_so = f"format {text!r} with " if text else ""
        raise InputError("data", f"{named_so}unknown first bytes", "a JPEG or PNG file")
    deep = named.encoding.endswith("16") and named.encoding != "mono16"  # As mono16, depth is sent too.
    if header.bits > 8 and not deep:
        raise InputError("data", f"{header.bits} bits per channel",
                         "8 bits per channel, or a format that names colours of 16 bits")
    check_size(header.width, header.height)
    if header.kind == "jpeg" and not is_complete_jpeg(data.data):
        # OpenCV would fill the rest with grey without an error.
        raise InputError("data", f"a JPEG of {data.size} bytes without its end", "a complete file")
    return header


def _decompress(data: Bytes, header: ImageHeader, flags: int) -> npt.NDArray[Any]:
    try:
        image = cv2.imdecode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise InputError("data", f"a broken {header.kind} file", "a complete file") from error
    if image is None:
        raise InputError("data", f"a broken {header.kind} file", "a complete file")
    return cast("npt.NDArray[Any]", image)
