# SPDX-License-Identifier: Apache-2.0
"""Log-mel spectrograms.

NumPy on one thread is as fast as torch for this size. Threads of torch stall for tens of milliseconds when other
processes use the same cores.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

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


@lru_cache(maxsize=8)
def _hann(fft: int) -> Floats:
    return _constant(np.sin(np.pi * np.arange(fft) / fft) ** 2)


def log_mel(samples: Floats, sample_rate_hz: int, fft: int, hop: int, mels: int) -> Floats:
    """Return the natural logarithm of mel power, float32 (channels, mels, frames).

    The window is a periodic Hann window, without padding: frames = 1 + (n - fft) // hop, and frame k covers the samples
    from k * hop to k * hop + fft. The power is that of the windowed DFT, not normalized.

    Args:
        samples: sound (channels, n).
        sample_rate_hz: sample rate in Hz.
        fft: length of the window in samples.
        hop: distance of the frames in samples.
        mels: number of mel bands.
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, fft, axis=1)[:, ::hop]
    spectrum = np.fft.rfft(frames * _hann(fft), axis=-1)
    power = (spectrum.real ** 2 + spectrum.imag ** 2).astype(np.float32)
    audible = np.maximum(power @ mel_filters(sample_rate_hz, fft, mels).T, np.float32(POWER_FLOOR))
    return np.ascontiguousarray(np.log(audible).transpose(0, 2, 1), dtype=np.float32)


def _constant(values: npt.NDArray[np.float64]) -> Floats:
    """Return a read-only float32 array, which all callers share."""
    shared = values.astype(np.float32)
    shared.flags.writeable = False
    return shared
