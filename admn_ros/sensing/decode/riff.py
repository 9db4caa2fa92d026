# SPDX-License-Identifier: Apache-2.0
"""Layout of WAV files (RIFF), also of those that programs write into a pipe or without padding."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

STREAMED = 0x7FFF0000
"""Smallest size that programs write when they cannot know the length of the sound."""
_HEAD = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")
_EXTENSIBLE = 0xFFFE
_CODING_AT = 24
"""Offset of the coding in an extensible format; 16 bits, followed by the rest of its GUID."""
_NAMES = {b"fmt ", b"data", b"LIST", b"fact", b"PEAK", b"JUNK", b"junk", b"PAD ", b"FLLR", b"bext", b"iXML", b"cue ",
          b"smpl", b"inst", b"id3 ", b"ID3 ", b"axml", b"chna", b"note", b"labl", b"plst", b"DISP", b"acid", b"cart"}


@dataclass(frozen=True)
class WavLayout:
    """Format and place of the sound in a WAV file.

    Attributes:
        coding: 1 for integers, 3 for floating point; others as registered by Microsoft.
        channels: number of interleaved channels.
        sample_rate: sample rate in Hz.
        bits: bits per sample of one channel.
        format: the whole chunk of the format, without its name and size.
        start: offset of the sound in bytes.
        size: length of the sound in bytes. It may exceed the file, which is then cut off.
        beyond: number of bytes after the sound that are no chunk, as when the header was never updated.
        standard: whether every chunk is padded to an even length, and the length of the sound is not 0.
    """

    coding: int
    channels: int
    sample_rate: int
    bits: int
    format: bytes
    start: int
    size: int
    beyond: int
    standard: bool


def find_sound(file: bytes | memoryview) -> WavLayout | None:
    """Find the sound of a little-endian WAV file.

    A chunk of odd length is followed by a byte of padding, which some programs leave out; the name of the next chunk
    decides. A sound whose length is 0 or at least `STREAMED` reaches to the end of the file, unless another chunk
    follows.

    Returns:
        None if the file is no WAV file, or has no sound or no format before it.
    """
    if bytes(file[:4]) != b"RIFF" or bytes(file[8:12]) != b"WAVE":
        return None
    form, standard = b"", True
    for name, at, size, padded in _chunks(file):
        if name == b"data" and len(form) >= _FORMAT.size:
            coding, channels, rate, _, _, bits = _FORMAT.unpack_from(form)
            if coding == _EXTENSIBLE and len(form) >= _CODING_AT + 2:
                coding = int.from_bytes(form[_CODING_AT:_CODING_AT + 2], "little")
            rest = len(file) - at
            unset = size == 0 and bytes(file[at:at + 4]) not in _NAMES
            open_end = unset or size >= STREAMED
            return WavLayout(coding, channels, rate, bits, form, at, rest if open_end else size,
                             0 if open_end else _beyond(file, at + size), standard and not unset)
        if name == b"fmt ":
            form = bytes(file[at:at + size])
        standard &= padded
    return None


def _beyond(file: bytes | memoryview, end: int) -> int:
    """Return the number of bytes from the end of the sound on; 0 if another chunk follows, padded or not."""
    names = bytes(file[end:end + 4]), bytes(file[end + 1:end + 5])
    return 0 if any(name in _NAMES or name.isalnum() for name in names) else max(len(file) - end, 0)


def _chunks(file: bytes | memoryview) -> Iterator[tuple[bytes, int, int, bool]]:
    """Yield name, offset and size of the content of each chunk, and whether it is padded to an even length."""
    at = 12
    while at + _HEAD.size <= len(file):
        name, size = _HEAD.unpack_from(file, at)
        at += _HEAD.size
        after = at + size
        padded = not (size % 2 and bytes(file[after:after + 4]) in _NAMES
                      and bytes(file[after + 1:after + 5]) not in _NAMES)
        yield name, at, size, padded
        at = after + (size % 2 if padded else 0)
