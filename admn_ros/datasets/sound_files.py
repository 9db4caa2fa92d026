# SPDX-License-Identifier: Apache-2.0
"""Sound files: WAV, FLAC, OGG, and whatever else the installed libsndfile reads."""

from __future__ import annotations

import mmap
import re
import struct
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from admn_ros.errors import InputError
from admn_ros.files import other_content
from admn_ros.sample import MOST_CHANNELS
from admn_ros.sensing.decode.audio_messages import LOUDEST
from admn_ros.sensing.decode.riff import STREAMED, find_sound

ENDINGS = (".wav", ".flac", ".ogg")
MAX_SOUND_VALUES = 64 * 1024 * 1024
"""Maximum number of values (samples times channels) of a file."""
_UNKNOWN = 2**63 - 1
"""Number of samples that libsndfile gives if it does not know it."""
_WIDEST = 8
"""Largest number of bytes of a value."""
_ALLOWED = "a sound file, such as WAV, FLAC or OGG"
_RATES_HZ = (1000, 384_000)
"""Sample rates as in messages. Sound of a lower rate would be resampled to thousands of times its length."""
_TAGS = 4096
"""Number of bytes after the sound that may be tags of no known form."""
_CUT_OFF = re.compile(r"data : (\d+) \(should be (\d+)\)")


def read_sound(path: str | Path) -> tuple[npt.NDArray[np.float32], int]:
    """Read a sound file.

    Returns:
        Samples float32 (samples, channels), full scale 1.0, and the sample rate in Hz.

    Raises:
        InputError: the file cannot be read, has an unknown coding, is cut off or empty, is longer than its header says,
            has more than `MAX_SOUND_VALUES` values, another rate or number of channels than a message may have, or a
            value is not finite or far beyond full scale.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(64)
            with soundfile.SoundFile(_standard(file, path)) as sound:
                _check_complete(sound.extra_info, path)
                samples, rate_hz = _samples(sound, path), int(sound.samplerate)
    except OSError as error:
        raise InputError(str(path), error.strerror or "unreadable", _ALLOWED) from error
    except soundfile.LibsndfileError as error:
        raise InputError(str(path), other_content(head) or error.error_string.rstrip("."), _ALLOWED) from error
    if not np.isfinite(samples).all():
        raise InputError(str(path), "samples that are NaN or infinite", "finite samples")
    if (largest := float(np.abs(samples).max())) > LOUDEST:
        raise InputError(str(path), f"values up to {largest:g}", f"full scale 1.0, at most {LOUDEST:g}")
    return samples, rate_hz


def _samples(sound: soundfile.SoundFile, path: Path) -> npt.NDArray[np.float32]:
    """Read all samples, after a look at their number."""
    for field, value, (least, most) in (("Hz", sound.samplerate, _RATES_HZ),
                                        ("channels", sound.channels, (1, MOST_CHANNELS))):
        if not least <= value <= most:
            raise InputError(str(path), f"{value} {field}", f"{least} to {most} {field}")
    if sound.frames == _UNKNOWN:
        raise InputError(str(path), "no length in its header, as encoders write into a pipe",
                         "a file with its length, such as after encoding it into a file")
    size = sound.frames * sound.channels
    if not 0 < size <= MAX_SOUND_VALUES:
        raise InputError(str(path), f"{size} values", f"1 to {MAX_SOUND_VALUES} values")
    # Some codings cannot be read without the number of samples.
    samples: npt.NDArray[np.float32] = sound.read(sound.frames, dtype="float32", always_2d=True)
    if len(samples) != sound.frames:
        raise InputError(str(path), f"{len(samples)} of {sound.frames} samples", "a complete file")
    return samples


def _standard(file: BufferedReader, path: Path) -> BinaryIO:
    """Return a WAV file that libsndfile would not read in the standard form, and others as they are.

    Raises:
        InputError: the sound of a WAV file goes on after the end that its header gives.
    """
    file.seek(0)
    if not file.peek(1):  # An empty file cannot be mapped.
        return file
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content, memoryview(content) as view:
        layout = find_sound(view)
        if layout is not None and layout.beyond > max(_TAGS, layout.size):
            raise InputError(str(path), f"{layout.size} bytes of sound, and {layout.beyond} after it that are no chunk",
                             "a complete file; its header was not updated: set the size of the chunk `data` to 0")
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
