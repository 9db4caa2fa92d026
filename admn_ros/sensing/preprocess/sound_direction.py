# SPDX-License-Identifier: Apache-2.0
"""Direction of sound: phases between microphones as a map of mel band over azimuth.

GCC-PHAT (Knapp and Carter 1976), steered to each azimuth and summed over the microphone pairs, as in SRP-PHAT.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

import numpy as np
import numpy.typing as npt

from admn_ros.config import AUDIO_PARTS, AudioInput
from admn_ros.sensing.preprocess.mel import log_mel, mel_filters

SOUND_MPS = 343.0
"""Speed of sound at 20 degrees Celsius."""
Floats = npt.NDArray[np.float32]


def direction_map(sound: Floats, config: AudioInput) -> Floats:
    """Convert sound to a direction map.

    For each part of the window, the map has the agreement of the phases of each band with a plane wave from each
    azimuth (1 is perfect), and then the normalized log-mel level of the band, equal for all azimuths. Levels have no
    information on direction, and phases none on distance.

    Args:
        sound: float32 (channels, samples).
        config: audio input of the model.

    Returns:
        Map float32 (2 * AUDIO_PARTS, mels, azimuths). Azimuths cover the full circle counter-clockwise from behind;
        0, straight ahead, is in the middle.
    """
    frames = np.lib.stride_tricks.sliding_window_view(sound, config.fft, axis=1)[:, ::config.hop]
    spectrum = np.fft.rfft(frames * np.hanning(config.fft).astype(np.float32), axis=-1).astype(np.complex64)
    parts = np.array_split(np.arange(spectrum.shape[1]), AUDIO_PARTS)
    first, second = (list(side) for side in zip(*combinations(range(len(spectrum)), 2), strict=True))
    cross = np.stack([np.einsum("ptf,ptf->fp", spectrum[first][:, part], spectrum[second][:, part].conj())
                      for part in parts], axis=-1)
    cross /= np.maximum(np.abs(cross), np.float32(1e-12))
    fit = _steering(config) @ np.concatenate([cross.real, cross.imag], axis=1)
    weights = mel_filters(config.sample_rate_hz, config.fft, config.mels)
    # One small product per azimuth. For a large product BLAS uses threads, which stall for tens of milliseconds when
    # other processes use the same cores.
    fits = np.matmul(weights / (len(first) * weights.sum(axis=1, keepdims=True)), fit.swapaxes(0, 1)).swapaxes(0, 1)
    levels = log_mel(sound, config.sample_rate_hz, config.fft, config.hop, config.mels).mean(axis=0)
    levels = (levels - np.float32(config.mean)) / np.float32(config.std)
    loudness = np.stack([levels[:, part].mean(axis=1) for part in parts], axis=-1)
    spread = np.broadcast_to(loudness[:, None], (config.mels, config.azimuths, AUDIO_PARTS))
    result: Floats = np.concatenate([fits, spread], axis=2).transpose(2, 0, 1).astype(np.float32, order="C")
    return result


@lru_cache(maxsize=4)
def _steering(config: AudioInput) -> Floats:
    """Return weights of the phases of plane waves (frequencies, azimuths, 2 * pairs): real, then imaginary parts."""
    azimuth = -np.pi + (np.arange(config.azimuths) + 0.5) * 2 * np.pi / config.azimuths
    ahead_s = np.array(config.microphones_m) @ np.stack([np.cos(azimuth), np.sin(azimuth)]) / SOUND_MPS
    lead_s = np.stack([ahead_s[i] - ahead_s[j] for i, j in combinations(range(len(ahead_s)), 2)], axis=-1)
    phase = 2 * np.pi * np.fft.rfftfreq(config.fft, 1 / config.sample_rate_hz)[:, None, None] * lead_s
    return np.concatenate([np.cos(phase), np.sin(phase)], axis=-1).astype(np.float32)
