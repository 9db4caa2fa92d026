# SPDX-License-Identifier: Apache-2.0
"""Size of a JPEG or PNG file from its header, read before anything is decompressed."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from admn_ros.errors import InputError

_HEAD_BYTES = 1 << 20
"""Length of the part of a file in which its header is looked for."""
_PNG_DEPTH_AT = 24
"""Offset of the bit depth in a PNG file (RFC 2083). Pillow converts 16-bit colours and does not report it."""

_CHANNELS = {"P": 3}


@dataclass(frozen=True)
class ImageHeader:
    """Header of an image file.

    Attributes:
        kind: file format.
        width: width in pixels.
        height: height in pixels.
        bits: bits per channel.
        channels: number of channels; that of the colours for a palette.
    """

    kind: Literal["jpeg", "png"]
    width: int
    height: int
    bits: int
    channels: int


def read_image_header(data: memoryview | bytes) -> ImageHeader | None:
    """Read the header of a JPEG or PNG file.

    Pillow's readers are lazy: they decode no pixels. `Image.open` is not used, as its limit on the size is a global
    setting, and larger than ours.

    Returns:
        The header, or None if the data do not begin like a JPEG or PNG file.

    Raises:
        InputError: the header is broken, cut off, or that of a JPEG with more than 8 bits.
    """
    head = bytes(data[:_HEAD_BYTES])
    png = head.startswith(b"\x89PNG\r\n\x1a\n")
    if not png and not head.startswith(b"\xff\xd8\xff"):
        return None
    kind: Literal["jpeg", "png"] = "png" if png else "jpeg"
    try:
        with (PngImageFile if png else JpegImageFile)(BytesIO(head)) as image:
            width, height = image.size
            channels = _CHANNELS.get(image.mode, len(image.getbands()))
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error) as error:
        raise InputError("data", f"a broken {kind} file", "a complete file") from error
    return ImageHeader(kind, width, height, head[_PNG_DEPTH_AT] if png else 8, channels)
