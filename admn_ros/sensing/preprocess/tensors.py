# SPDX-License-Identifier: Apache-2.0
"""Conversion of readings to the input tensors of the network, by one rule per modality from the model's config.

The node, datasets, training and evaluation share these functions. They use NumPy, SciPy and OpenCV, because threads of
torch stall for tens of milliseconds per image when other processes use the same cores.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from admn_ros.config import AudioInput, DepthInput, InputConfig, RadarInput, RgbInput
from admn_ros.errors import InputError
from admn_ros.sample import MOST_CHANNELS, Array
from admn_ros.sensing.decode.audio import resample
from admn_ros.sensing.preprocess.area import resize_means
from admn_ros.sensing.preprocess.mel import Floats, log_mel, mel_filters, periodic_hann, spectra
from admn_ros.sensing.preprocess.sound_direction import direction_map
from admn_ros.sensing.preprocess.vision import depth_tensor, rgb_tensor


def radar_tensor(heatmap: Array, config: RadarInput) -> Tensor:
    """Convert magnitudes float32 (rows, columns) to float32 (channels, height, width).

    The values are (log1p(x / floor) - mean) / std, resized by area if the map shrinks, else bilinearly. NaN and
    negative cells count as 0, and cells too large for float32 as its largest value.

    Raises:
        InputError: the map has another type or shape.
    """
    check_heatmap(heatmap, config)
    largest = np.finfo(np.float32).max
    with np.errstate(over="ignore"):
        magnitude = np.fmax(heatmap[:config.rows], 0).astype(np.float32, copy=False)   # NaN becomes 0
        ratio = magnitude * np.float32(min(1 / config.floor, float(largest)))
    levels = np.log1p(np.fmin(ratio, largest))
    levels -= np.float32(config.mean)
    levels *= np.float32(1 / config.std)
    resized = resize_means(levels, config.height, config.width)
    return torch.from_numpy(np.repeat(resized[None], config.channels, axis=0))


def check_heatmap(heatmap: Array, config: RadarInput) -> None:
    """Check type and shape of a radar heatmap.

    A map that has too few rows for `rows`, but would have enough if it were transposed, is transposed.

    Raises:
        InputError: the map has another type or shape.
    """
    if heatmap.dtype.kind != "f" or heatmap.ndim != 2 or 0 in heatmap.shape:
        raise _unfit("radar", heatmap, "float32 (rows, columns)")
    if config.rows is not None and heatmap.shape[0] < config.rows <= heatmap.shape[1]:
        raise _unfit("radar", heatmap, f"(rows, columns), with ranges along the rows; the model uses {config.rows}")


def audio_tensor(samples: Array, config: AudioInput, sample_rate_hz: int | None = None) -> Tensor:
    """Convert sound to a normalized log-mel spectrogram float32 (channels, mels, frames).

    With `microphones_m` the result is a direction map (6, mels, azimuths), see
    `admn_ros.sensing.preprocess.sound_direction`.

    The newest fft + (frames - 1) * hop samples are used, and the last frame ends with the last sample. A shorter
    recording is preceded by silence. Samples beyond full scale are clipped. Of more channels than the model has, the
    first are used; fewer are repeated in turn.

    Args:
        samples: float32 (samples, channels).
        config: audio input of the model.
        sample_rate_hz: sample rate of the sound in Hz; None for the model's rate. The sound is resampled if needed.

    Raises:
        InputError: the sound has another type or shape (as a transposed one), or a sample is not finite.
    """
    if samples.dtype.kind != "f" or samples.ndim != 2 or not 0 < samples.shape[1] <= MOST_CHANNELS:
        raise _unfit("audio", samples, f"float32 (samples, channels), 1 to {MOST_CHANNELS} channels")
    if 0 < len(samples) < samples.shape[1]:
        raise _unfit("audio", samples, "float32 (samples, channels), with more samples than channels")
    sound: Floats = samples.astype(np.float32, copy=False)
    if not np.isfinite(sound).all():
        raise InputError("audio", "samples that are NaN or infinite", "finite samples")
    if sample_rate_hz is not None and sample_rate_hz != config.sample_rate_hz:
        sound = resample(sound, sample_rate_hz, config.sample_rate_hz)
    length = config.fft + (config.frames - 1) * config.hop
    padded = _newest(sound, length, config.channels)
    if config.microphones_m:
        return torch.from_numpy(direction_map(padded, config))
    spectrum = spectra(padded, periodic_hann(config.fft), config.hop)
    spectrogram = log_mel(spectrum, mel_filters(config.sample_rate_hz, config.fft, config.mels)).transpose(0, 2, 1)
    normalized = (spectrogram - np.float32(config.mean)) / np.float32(config.std)
    return torch.from_numpy(np.ascontiguousarray(normalized, np.float32))


def input_tensor(data: Array, config: InputConfig) -> Tensor:
    """Convert a reading, an array as in `sample.Reading`, to float32 of shape `config.shape`.

    Audio must be at the model's sample rate.

    Raises:
        InputError: the reading does not fit its modality.
    """
    if isinstance(config, RgbInput):
        return rgb_tensor(data, config)
    if isinstance(config, DepthInput):
        return depth_tensor(data, config)
    if isinstance(config, RadarInput):
        return radar_tensor(data, config)
    return audio_tensor(data, config)


def _newest(sound: Floats, length: int, channels: int) -> Floats:
    """Return the newest samples (channels, length) of a sound (samples, channels) in [-1, 1], after silence."""
    used = np.clip(sound[-length:, :channels], -1.0, 1.0)
    newest = np.zeros((channels, length), np.float32)
    newest[:used.shape[1], length - len(used):] = used.T
    for channel in range(used.shape[1], channels):
        newest[channel] = newest[channel - used.shape[1]]
    return newest


def _unfit(name: str, data: Array, allowed: str) -> InputError:
    return InputError(name, f"{data.dtype} {data.shape}", allowed)
