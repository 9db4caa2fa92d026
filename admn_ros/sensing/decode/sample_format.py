# SPDX-License-Identifier: Apache-2.0
"""Recognition of samples in another format than S16LE, as which they would be loud noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

NOISE = 8192.0
"""Mean step between neighbouring 16-bit samples that is noise, or samples in another format."""
FEWEST = 32
"""Number of samples per channel by which two formats can be compared."""
_LONGEST = 1 << 17
"""Number of bytes at the beginning of a message that are looked at."""
_SMOOTH, _QUIETER = 0.5, 4
"""Mean step of sound by its mean deviation (that of white noise is above 1.2), and by the step in the wrong format."""
_EXPONENTS = (87, 131)
"""Exponents of floating-point samples between 2^-40 and 2^5."""


def other_format(data: Bytes, channels: int) -> str | None:
    """Return the format of samples that cannot be S16LE; None if they can.

    Floating-point samples are recognized by their exponents: as S16LE, every second sample would be near half of full
    scale, with either sign. Of 16-bit samples in 32 bits, every second value is 0. Other integers of another size or
    byte order are recognized if every channel is noise as S16LE, and all are smooth as the other format, so that noise
    is left as it is. 32-bit integers are recognized with an odd number of channels only.

    Args:
        data: whole samples.
        channels: number of interleaved channels.
    """
    data = data[:_LONGEST]
    values = data[:data.size // 2 * 2].view("<i2")
    if values.size < 2 * channels * FEWEST:
        return None
    if _are_floats(values):
        return "F32LE"
    if channels % 2 and not values[::2].any() and np.count_nonzero(values[1::2]) >= FEWEST:
        return "S32LE, or as twice as many channels"
    step = steps(values, channels).min()
    if step <= NOISE:
        return None
    return next((name for name, other in _others(data) if _is_smooth(other, channels, step)), None)


def steps(values: npt.NDArray[Any], channels: int) -> npt.NDArray[np.float64]:
    """Return the mean step between neighbouring samples of each channel."""
    whole = values[:values.size // channels * channels].astype(np.int32).reshape(-1, channels)
    return np.asarray(np.abs(np.diff(whole, axis=0)).mean(axis=0), np.float64)


def _are_floats(values: npt.NDArray[np.int16]) -> bool:
    words = values[:values.size // 2 * 2].view("<u4")
    words = words[words << 1 != 0]
    if words.size < FEWEST:
        return False
    exponents = words >> 23 & 0xFF
    plausible = ((exponents >= _EXPONENTS[0]) & (exponents <= _EXPONENTS[1])).mean()
    return bool(plausible > 0.95 and 0.1 < (words >> 31).mean() < 0.9)  # Zero crossings may be smaller.


def _others(data: Bytes) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield the upper 16 bits of the samples in each other format, with its name."""
    yield "S16BE", data[:data.size // 2 * 2].view(">i2")
    yield "S32LE", data[:data.size // 4 * 4].view("<i2")[1::2]
    for first in range(3):  # A message need not begin with a whole sample of 24 bits.
        triples = data[first:first + (data.size - first) // 3 * 3].reshape(-1, 3)
        yield "S24LE", np.ascontiguousarray(triples[:, 1:]).view("<i2")[:, 0]


def _is_smooth(values: npt.NDArray[Any], channels: int, noise: float) -> bool:
    whole = values[:values.size // channels * channels].astype(np.float64).reshape(-1, channels)
    if len(whole) < FEWEST // 2:
        return False
    deviation = np.abs(whole - whole.mean(axis=0)).mean(axis=0)
    step = steps(values, channels)
    return bool((step < _SMOOTH * deviation).all() and step.max() * _QUIETER < noise)
