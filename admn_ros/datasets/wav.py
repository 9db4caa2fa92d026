# SPDX-License-Identifier: Apache-2.0
"""WAV files: PCM of 8, 16, 24 and 32 bits, and floating point of 32 and 64 bits."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError

MAX_SOUND_VALUES = 64 * 1024 * 1024
"""Most values (samples times channels) that are read from one file."""
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_WIDTHS = {_PCM: (1, 2, 3, 4), _FLOAT: (4, 8)}
_ALLOWED = "a WAV file of 8 to 32 bit PCM or 32 or 64 bit floating point"


@dataclass(frozen=True)
class _Format:
    coding: int
    channels: int
    rate_hz: int
    width: int


def read_wav(path: str | Path) -> tuple[npt.NDArray[np.float32], int]:
    """Sound of a file as float32 (samples, channels), full scale 1.0, and its rate in Hz.

    Raises:
        InputError: unreadable, another kind of file or coding, cut off, empty, or larger than `MAX_SOUND_VALUES`.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            form, data = _chunks(file, str(path))
    except OSError as error:
        raise InputError(str(path), error.strerror or "unreadable", _ALLOWED) from error
    raw = np.frombuffer(data, np.uint8)
    if form.coding == _FLOAT:
        sound = np.asarray(raw.view(f"<f{form.width}"), dtype=np.float32)
        if not np.isfinite(sound).all():
            raise InputError(str(path), "samples that are NaN or infinite", "finite samples")
    else:
        sound = _unit(raw, form.width)
    return sound.reshape(-1, form.channels), form.rate_hz


def _chunks(file: BinaryIO, place: str) -> tuple[_Format, bytes]:
    """Format and sound of a file; other chunks are passed over."""
    head = file.read(12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise InputError(place, f"a file that begins with {head[:4]!r}", _ALLOWED)
    form = None
    while len(head := file.read(8)) == 8:
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name == b"data":
            if form is None:
                raise InputError(place, "sound before its format", _ALLOWED)
            return form, _sound(file, size, form, place)
        if name == b"fmt ":
            form = _format(file.read(size), place)
            file.seek(size % 2, 1)
        else:
            file.seek(size + size % 2, 1)  # chunks have even lengths
    raise InputError(place, "no sound", "a complete WAV file")


def _format(data: bytes, place: str) -> _Format:
    if len(data) < 16:
        raise InputError(place, f"a format of {len(data)} bytes", _ALLOWED)
    coding, channels, rate_hz, _, block, bits = struct.unpack("<HHIIHH", data[:16])
    if coding == _EXTENSIBLE and len(data) >= 26:
        coding = int.from_bytes(data[24:26], "little")
    width = block // channels if channels else 0
    if width not in _WIDTHS.get(coding, ()) or rate_hz < 1 or not 8 * (width - 1) < bits <= 8 * width:
        raise InputError(place, f"coding {coding} of {bits} bits in {channels} channels at {rate_hz} Hz", _ALLOWED)
    return _Format(coding, channels, rate_hz, width)


def _sound(file: BinaryIO, size: int, form: _Format, place: str) -> bytes:
    values = size // form.width
    if not 0 < values <= MAX_SOUND_VALUES:
        raise InputError(place, f"{values} values", f"1 to {MAX_SOUND_VALUES} values")
    data = file.read(size)
    if len(data) != size or size % (form.width * form.channels):
        raise InputError(place, f"{len(data)} of {size} bytes", "a complete WAV file")
    return data


def _unit(raw: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.float32]:
    if width == 1:  # the only unsigned width
        return np.asarray((raw.astype(np.float32) - 128) / 128, dtype=np.float32)
    padded = np.zeros((len(raw) // width, 4), np.uint8)  # the bytes at the upper end of 32 bits
    padded[:, 4 - width:] = raw.reshape(-1, width)
    return np.asarray(padded.reshape(-1).view("<i4") / 2.0 ** 31, dtype=np.float32)
