# SPDX-License-Identifier: Apache-2.0
"""Direction of sound: phases between microphones as a map of mel band over azimuth.

GCC-PHAT (Knapp and Carter 1976), steered to each azimuth and summed over the microphone pairs, as in SRP-PHAT.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array

from admn_ros.config import AUDIO_PARTS, AudioInput
from admn_ros.sensing.preprocess.mel import Complex, Floats, log_mel, mel_filters, spectra

SOUND_MPS = 343.0
"""Speed of sound at 20 degrees Celsius."""


def direction_map(sound: Floats, config: AudioInput) -> Floats:
    """Convert sound to a direction map.

    For each part of the window, the map has the agreement of the phases of each band with a plane wave from each
    azimuth (1 is perfect), and then the normalized log-mel level of the band, equal for all azimuths. Levels have no
    information on direction, and phases none on distance. Both come from one transform with the symmetric Hann window;
    the periodic one of other spectrograms gives the same power to about 1 %.

    Args:
        sound: float32 (channels, samples).
        config: audio input of the model.

    Returns:
        Map float32 (2 * AUDIO_PARTS, mels, azimuths). Azimuths cover the full circle counter-clockwise from behind;
        0, straight ahead, is in the middle.
    """
    spectrum = spectra(sound, _hanning(config.fft), config.hop)
    fit = _steering(config) @ _cross_phases(spectrum)
    fits = _band_weights(config) @ fit.reshape(len(fit), -1)
    filters = mel_filters(config.sample_rate_hz, config.fft, config.mels)
    levels = (log_mel(spectrum, filters).mean(axis=0) - np.float32(config.mean)) / np.float32(config.std)
    result = np.empty((2 * AUDIO_PARTS, config.mels, config.azimuths), np.float32)
    result[:AUDIO_PARTS] = fits.reshape(config.mels, config.azimuths, AUDIO_PARTS).transpose(2, 0, 1)
    for number, part in enumerate(_parts(len(levels))):
        result[AUDIO_PARTS + number] = levels[part].mean(axis=0)[:, None]
    return result


def _cross_phases(spectrum: Complex) -> Floats:
    """Return the phases between the microphones of each pair in each part of a sound.

    Args:
        spectrum: spectra (channels, frames, frequencies).

    Returns:
        Unit numbers (frequencies, 2 * pairs, AUDIO_PARTS) of the cross spectra, summed over the part: real, then
        imaginary parts, with the pairs in the order of `_pairs`.
    """
    channels, frames, frequencies = spectrum.shape
    conjugate, pairs = spectrum.conj(), channels * (channels - 1) // 2
    sums = np.empty((AUDIO_PARTS, pairs, frequencies), np.complex64)
    first = 0
    for apart in range(1, channels):
        cross, last = spectrum[:-apart] * conjugate[apart:], first + channels - apart
        for number, part in enumerate(_parts(frames)):
            np.add.reduce(cross[:, part], axis=1, out=sums[number, first:last])
        first = last
    sums *= 1 / np.maximum(np.abs(sums), np.float32(1e-12))
    phases = sums.view(np.float32).reshape(*sums.shape, 2)
    return np.ascontiguousarray(phases.transpose(2, 3, 1, 0)).reshape(frequencies, -1, AUDIO_PARTS)


def _pairs(channels: int) -> list[tuple[int, int]]:
    """Return the pairs of channels, neighbours first."""
    return [(first, first + apart) for apart in range(1, channels) for first in range(channels - apart)]


@lru_cache(maxsize=4)
def _parts(frames: int) -> tuple[slice, ...]:
    """Divide frames into parts; the first ones are longer if they cannot be equal."""
    return tuple(slice(part[0], part[-1] + 1) for part in np.array_split(np.arange(frames), AUDIO_PARTS))


@lru_cache(maxsize=4)
def _hanning(fft: int) -> Floats:
    return np.hanning(fft).astype(np.float32)


@lru_cache(maxsize=4)
def _band_weights(config: AudioInput) -> csr_array:
    """Return weights (mels, frequencies) that average a band over its frequencies and all pairs.

    Most are 0. A dense product takes longer, and for a large one BLAS uses threads, which stall for tens of
    milliseconds when other processes use the same cores.
    """
    weights = mel_filters(config.sample_rate_hz, config.fft, config.mels)
    return csr_array(weights / (len(_pairs(config.channels)) * weights.sum(axis=1, keepdims=True)))


@lru_cache(maxsize=4)
def _steering(config: AudioInput) -> Floats:
    """Return weights of the phases of plane waves (frequencies, azimuths, 2 * pairs): real, then imaginary parts."""
    azimuth = -np.pi + (np.arange(config.azimuths) + 0.5) * 2 * np.pi / config.azimuths
    ahead_s = np.array(config.microphones_m) @ np.stack([np.cos(azimuth), np.sin(azimuth)]) / SOUND_MPS
    lead_s = np.stack([ahead_s[i] - ahead_s[j] for i, j in _pairs(len(ahead_s))], axis=-1)
    phase = 2 * np.pi * np.fft.rfftfreq(config.fft, 1 / config.sample_rate_hz)[:, None, None] * lead_s
    return np.concatenate([np.cos(phase), np.sin(phase)], axis=-1).astype(np.float32)
