# SPDX-License-Identifier: Apache-2.0
"""Recognition of compressed sound and sound files, which would be loud noise if they were taken as samples."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple


class Coding(NamedTuple):
    """Coding of compressed sound.

    Attributes:
        name: name of the coding.
        certain: whether samples cannot look like this by chance.
    """

    name: str
    certain: bool


_CONTAINERS = (
    ("MP3 (ID3 tag)", re.compile(rb"ID3[\x02-\x04][^\xff][\x00-\xff][\x00-\x7f]{4}")),
    ("Ogg", re.compile(rb"OggS\0[\x00-\x07]")),
    ("FLAC", re.compile(rb"fLaC[\x00\x80]\0\0\x22")),
    ("Matroska or WebM", re.compile(rb"\x1a\x45\xdf\xa3")),
    ("MP4 or M4A", re.compile(rb"[\x00-\xff]{4}ftyp[ -~]{4}")),
    ("AIFF", re.compile(rb"FORM[\x00-\xff]{4}AIF[FC]")),
    ("AU", re.compile(rb"\.snd\0\0")),
    ("WAV of more than 4 GiB", re.compile(rb"(?:RF64|BW64)[\x00-\xff]{4}WAVE")),
    ("big-endian WAV", re.compile(rb"RIFX[\x00-\xff]{4}WAVE")),
    ("Wave64", re.compile(rb"riff\x2e\x91\xcf\x11")),
    ("CAF", re.compile(rb"caff\0\x01\0\0")),
    ("VOC", re.compile(rb"Creative Voice File\x1a")),
    ("AMR", re.compile(rb"#!AMR(?:-WB)?\n")),
    ("WMA", re.compile(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11")),
)
_SYNC = re.compile(rb"\xff(?:[\xe2-\xe5\xf2-\xf5\xfa-\xfd][\x10-\xef]|[\xf0\xf1\xf8\xf9][\x40-\xef])")
"""Start of an MPEG audio frame of layer II or III (ISO/IEC 11172-3), or of an ADTS frame (ISO/IEC 13818-7)."""
_LONGEST_FRAME = 2048
_KBPS = {  # by (MPEG 1, layer), from index 1
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = (44_100, 48_000, 32_000)


def coding_of(data: bytes | memoryview) -> Coding | None:
    """Return the coding of compressed sound; None if the data may be samples.

    Containers are recognized by their first bytes. MPEG audio (MP3, AAC in ADTS) has none: its frames are recognized
    because each gives its own length, and the next one begins there. Two frames from the first byte or three from
    anywhere are certain; a single frame that is exactly as long as the data is not.
    """
    for name, magic in _CONTAINERS:
        if magic.match(data):
            return Coding(name, True)
    for found in _SYNC.finditer(data, 0, _LONGEST_FRAME):
        first = found.start() == 0
        name, count, end = _frames(data, found.start())
        if count >= (2 if first else 3):
            return Coding(name, True)
        if first and count == 1 and end == len(data):
            return Coding(name, False)
    return None


def _frames(data: bytes | memoryview, at: int) -> tuple[str, int, int]:
    """Follow the MPEG frames from an offset; return their name, number, and the offset after the last one."""
    name, count, kind = "", 0, -1
    while (frame := _frame(data, at)) is not None and (count == 0 or frame[1] == kind):
        name, kind, length = frame
        at, count = at + length, count + 1
    return name, count, at


def _frame(data: bytes | memoryview, at: int) -> tuple[str, int, int] | None:
    """Return name, the fields that do not change from frame to frame, and length in bytes; None if it is no frame."""
    if at + 7 > len(data) or not _SYNC.match(data, at):
        return None
    (word,) = struct.unpack_from(">I", data, at)
    layer = 4 - (word >> 17 & 3)
    if layer == 4:
        length = (word & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
        return ("AAC", word & 0xFFFEFC00, length) if length >= 7 and word >> 10 & 15 < 13 else None
    version, rate = word >> 19 & 3, word >> 10 & 3
    if rate == 3:
        return None
    first = version == 3
    kbps = _KBPS[first, layer if first else 2][(word >> 12 & 15) - 1]
    rate_hz = _RATES_HZ[rate] >> {3: 0, 2: 1, 0: 2}[version]
    length = (144 if first or layer == 2 else 72) * 1000 * kbps // rate_hz + (word >> 9 & 1)
    return f"MPEG audio, layer {layer}", word & 0xFFFE0C00, length
