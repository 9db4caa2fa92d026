# SPDX-License-Identifier: Apache-2.0
"""Sound files: WAV, FLAC, OGG, and whatever else the installed libsndfile reads."""

from __future__ import annotations

import mmap
import re
import struct
from contextlib import suppress
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from admn_ros.errors import InputError
from admn_ros.sensing.decode.riff import STREAMED, find_sound

ENDINGS = (".wav", ".flac", ".ogg")
MAX_SOUND_VALUES = 64 * 1024 * 1024
"""Maximum number of values (samples times channels) of a file."""
_WIDEST = 8
"""Largest number of bytes of a value."""
_ALLOWED = "a sound file, such as WAV, FLAC or OGG"
_CUT_OFF = re.compile(r"data : (\d+) \(should be (\d+)\)")


def read_sound(path: str | Path) -> tuple[npt.NDArray[np.float32], int]:
    """Read a sound file.

    Returns:
        Samples float32 (samples, channels), full scale 1.0, and the sample rate in Hz.

    Raises:
        InputError: the file cannot be read, has an unknown coding, is cut off or empty, has more than
            `MAX_SOUND_VALUES` values, or a value is not finite.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, soundfile.SoundFile(_standard(file)) as sound:
            _check_complete(sound.extra_info, path)
            size = sound.frames * sound.channels
            if not 0 < size <= MAX_SOUND_VALUES:
                raise InputError(str(path), f"{size} values", f"1 to {MAX_SOUND_VALUES} values")
            samples, rate_hz = sound.read(dtype="float32", always_2d=True), int(sound.samplerate)
            if len(samples) != sound.frames:
                raise InputError(str(path), f"{len(samples)} of {sound.frames} samples", "a complete file")
    except OSError as error:
        raise InputError(str(path), error.strerror or "unreadable", _ALLOWED) from error
    except soundfile.LibsndfileError as error:
        raise InputError(str(path), error.error_string.rstrip("."), _ALLOWED) from error
    if not np.isfinite(samples).all():
        raise InputError(str(path), "samples that are NaN or infinite", "finite samples")
    return samples, rate_hz


def _standard(file: BufferedReader) -> BinaryIO:
    """Return a WAV file that libsndfile would not read in the standard form, and others as they are."""
    with (suppress(ValueError),  # An empty file cannot be mapped.
          mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content, memoryview(content) as view):
        layout = find_sound(view)
        if layout is not None and not layout.standard and layout.size <= _WIDEST * MAX_SOUND_VALUES:
            sound = content[layout.start:layout.start + layout.size]
            chunks = (struct.pack("<4sI", name, size) + data + b"\0" * (len(data) % 2) for name, size, data in (
                (b"fmt ", len(layout.format), layout.format), (b"data", layout.size, sound)))
            body = b"WAVE" + b"".join(chunks)
            return BytesIO(b"RIFF" + struct.pack("<I", len(body)) + body)
    return file


def _check_complete(log: str, path: Path) -> None:
    """Refuse a WAV file whose data are shorter than its header says; libsndfile takes what there is, and logs it."""
    cut = _CUT_OFF.search(log)
    if cut is not None and int(cut[1]) < STREAMED:
        raise InputError(str(path), f"{cut[2]} of {cut[1]} bytes", "a complete file")
