# SPDX-License-Identifier: Apache-2.0
"""Short-time spectra and log-mel spectrograms.

OpenCV transforms the frames of a sound about as fast as torch, and on one thread. Threads of torch stall for tens of
milliseconds when other processes use the same cores.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from scipy.fft import rfft

Floats = npt.NDArray[np.float32]
Complex = npt.NDArray[np.complex64]

POWER_FLOOR = 1e-7
"""Power of silence: below the rounding noise of 16 bits, and a normal float32."""
_POINTS_PER_BIN = 16


def hertz_to_mel(hertz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Convert Hz to mel by the HTK formula 2595 log10(1 + f / 700)."""
    return np.asarray(2595.0 * np.log10(1.0 + hertz / 700.0), dtype=np.float64)


@lru_cache(maxsize=8)
def mel_filters(sample_rate_hz: int, fft: int, mels: int) -> Floats:
    """Return triangular filters, float32 (mels, fft // 2 + 1), peak 1, from 0 Hz to the Nyquist frequency.

    The triangles are straight and equally spaced in mel (HTK). Each weight is the mean of the triangle over the width
    of the bin, not its value at the centre. At low frequencies the triangles are narrower than the bins, and some
    contain no centre; their filters would always be 0.
    """
    offsets = (np.arange(_POINTS_PER_BIN) + 0.5) / _POINTS_PER_BIN - 0.5
    hertz = (np.arange(fft // 2 + 1)[:, None] + offsets) * (sample_rate_hz / fft)
    points = hertz_to_mel(np.maximum(hertz, 0.0))
    spacing = float(hertz_to_mel(np.array(sample_rate_hz / 2.0))) / (mels + 1)
    centres = spacing * np.arange(1, mels + 1)
    triangles = np.maximum(1.0 - np.abs(points - centres[:, None, None]) / spacing, 0.0)
    return _constant(triangles.mean(axis=2))


def spectra(samples: Floats, window: Floats, hop: int) -> Complex:
    """Return the DFT, not normalized, of the frames of a sound: complex64 (channels, frames, fft // 2 + 1).

    There is no padding: frames = 1 + (n - fft) // hop, and frame k covers the samples from k * hop to k * hop + fft.

    Args:
        samples: sound (channels, n).
        window: window (fft,).
        hop: distance of the frames in samples.
    """
    fft, (channels, length) = len(window), samples.shape
    samples = np.ascontiguousarray(samples, np.float32)
    row, step = samples.strides
    # A view; NumPy's functions for it take longer than the transforms.
    frames = np.ndarray((channels, 1 + (length - fft) // hop, fft), np.float32, samples, 0, (row, hop * step, step))
    windowed = frames * window
    if cv2.getOptimalDFTSize(fft) != fft:   # OpenCV's time grows with the largest prime factor
        return np.asarray(rfft(windowed), np.complex64)
    rows = windowed.reshape(-1, fft)
    packed = cv2.dft(rows, rows, flags=cv2.DFT_ROWS).reshape(windowed.shape)   # in place
    # The imaginary parts that are always 0 are left out: those of 0 Hz and, for an even length, of the last frequency.
    parts = np.empty((*windowed.shape[:2], 2 * (fft // 2 + 1)), np.float32)
    parts[..., 1] = parts[..., -1] = 0
    parts[..., 0], parts[..., 2:fft + 1] = packed[..., 0], packed[..., 1:]
    return parts.view(np.complex64)


@lru_cache(maxsize=8)
def periodic_hann(fft: int) -> Floats:
    """Return the periodic Hann window (fft,)."""
    return _constant(np.sin(np.pi * np.arange(fft) / fft) ** 2)


def log_mel(spectrum: Complex, filters: Floats) -> Floats:
    """Return the natural logarithm of mel power, float32 (channels, frames, mels).

    Args:
        spectrum: spectra (channels, frames, frequencies) of a sound.
        filters: filters (mels, frequencies) of `mel_filters`.
    """
    squares = np.square(spectrum.view(np.float32))
    power = squares[..., 0::2] + squares[..., 1::2]
    logarithms: Floats = np.log(np.maximum(power @ filters.T, np.float32(POWER_FLOOR)))
    return logarithms


def _constant(values: npt.NDArray[np.float64]) -> Floats:
    """Return a read-only float32 array, which all callers share."""
    shared = values.astype(np.float32)
    shared.flags.writeable = False
    return shared
