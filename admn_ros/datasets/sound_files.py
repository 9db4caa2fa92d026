# SPDX-License-Identifier: Apache-2.0
"""Sound files: WAV, FLAC, OGG, and whatever else the installed libsndfile reads."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from admn_ros.errors import InputError

ENDINGS = (".wav", ".flac", ".ogg")
MAX_SOUND_VALUES = 64 * 1024 * 1024
"""Maximum number of values (samples times channels) of a file."""
_ALLOWED = "a sound file, such as WAV, FLAC or OGG"
_CUT_OFF = re.compile(r"data : (\d+) \(should be (\d+)\)")
_STREAMED = 0x7FFFF000
"""Smallest size that programs write when they stream a WAV file to a pipe and cannot know its length."""


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
        with path.open("rb") as file, soundfile.SoundFile(file) as sound:
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


def _check_complete(log: str, path: Path) -> None:
    """Refuse a WAV file whose data are shorter than its header says; libsndfile takes what there is, and logs it."""
    cut = _CUT_OFF.search(log)
    if cut is not None and int(cut[1]) < _STREAMED:
        raise InputError(str(path), f"{cut[2]} of {cut[1]} bytes", "a complete file")
