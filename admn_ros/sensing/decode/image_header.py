# SPDX-License-Identifier: Apache-2.0
"""Size of a JPEG or PNG file from its header, so that nothing large is decompressed unawares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}            # markers that stand alone
_FRAME = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0..SOF15 without tables


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of itself. Sizes in pixels, `bits` per channel."""

    kind: Literal["jpeg", "png"]
    width: int
    height: int
    bits: int


def read_image_header(data: bytes) -> ImageHeader | None:
    """Read the header at the start of a file (ITU-T T.81 for JPEG, RFC 2083 for PNG).

    Returns:
        The header, or None when it is neither a JPEG nor a PNG, or ends before its size.
    """
    if data.startswith(_PNG):
        return _read_png(data)
    if data.startswith(_JPEG):
        return _read_jpeg(data)
    return None


def _read_png(data: bytes) -> ImageHeader | None:
    if len(data) < 26 or data[12:16] != b"IHDR":
        return None
    return ImageHeader("png", int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"), data[24])


def _read_jpeg(data: bytes) -> ImageHeader | None:
    """Walk the segments up to the frame header."""
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _FRAME:
            return ImageHeader("jpeg", int.from_bytes(data[at + 7:at + 9], "big"),
                               int.from_bytes(data[at + 5:at + 7], "big"), data[at + 4])
        elif marker in _NO_LENGTH:
            at += 2
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2:at + 4], "big"))
    return None
