# SPDX-License-Identifier: Apache-2.0
"""Log-mel spectrograms."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

# Power below which all is silence: under the rounding noise of 16 bit, and a normal float32.
POWER_FLOOR = 1e-7
_POINTS_PER_BIN = 16


def hertz_to_mel(hertz: Tensor) -> Tensor:
    """The HTK formula: 2595 log10(1 + f / 700)."""
    return 2595.0 * torch.log10(1.0 + hertz / 700.0)


@lru_cache(maxsize=8)
def mel_filters(sample_rate_hz: int, fft: int, mels: int) -> Tensor:
    """Triangular filters, float32 (mels, fft // 2 + 1), peak 1, from 0 Hz to the Nyquist frequency.

    The triangles are straight and equally spaced in mels (HTK). Each weight is the mean of its
    triangle over the width of the bin, not its value in the middle: at low frequencies the triangles
    are narrower than the bins, and some would hold no middle at all and stay silent for ever.
    """
    bins = fft // 2 + 1
    width = sample_rate_hz / fft
    offsets = (torch.arange(_POINTS_PER_BIN, dtype=torch.float64) + 0.5) / _POINTS_PER_BIN - 0.5
    hertz = (torch.arange(bins, dtype=torch.float64)[:, None] + offsets) * width
    points = hertz_to_mel(hertz.clamp(min=0.0))
    top = float(hertz_to_mel(torch.tensor(sample_rate_hz / 2.0, dtype=torch.float64)))
    spacing = top / (mels + 1)
    centres = spacing * torch.arange(1, mels + 1, dtype=torch.float64)
    triangles = (1.0 - (points - centres[:, None, None]).abs() / spacing).clamp(min=0.0)
    return triangles.mean(dim=2).float()


@lru_cache(maxsize=8)
def _hann(fft: int) -> Tensor:
    return torch.hann_window(fft)


def log_mel(samples: Tensor, sample_rate_hz: int, fft: int, hop: int, mels: int) -> Tensor:
    """Natural logarithm of mel power, float32 (channels, mels, frames), of samples (channels, n).

    Periodic Hann window, no padding: frames = 1 + (n - fft) // hop, frame k covers the samples from
    k * hop to k * hop + fft. The power is that of the windowed DFT, not normalized.
    """
    spectrum = torch.stft(samples, fft, hop, window=_hann(fft), center=False, return_complex=True)
    power = torch.view_as_real(spectrum).square().sum(dim=-1)
    return (mel_filters(sample_rate_hz, fft, mels) @ power).clamp(min=POWER_FLOOR).log()
