# SPDX-License-Identifier: Apache-2.0
"""Sensor data as colour images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.sample import Array, Modality

Picture = npt.NDArray[np.uint8]

DEPTH_MAX_M = 7.0
RADAR_RANGE_DB = 38.0
"""Range of the radar image in dB above its median, which is the noise level."""
SOUND_DB = (-115.0, -45.0)
_WINDOW = 512


def colorize(modality: Modality, data: Array) -> Picture:
    """Convert a reading to an RGB image, uint8 (H, W, 3), in the size of the reading.

    Depth is blue for near, red for far and black for invalid pixels. Radar is in dB above the median, with increasing
    range upwards. Audio is a spectrogram of the first channel up to a quarter of the sample rate, with time to the
    right and frequency upwards.

    Args:
        modality: modality of the reading.
        data: data as in `admn_ros.sample.Reading`.
    """
    return _PICTURES[modality](data)


def _rgb(data: npt.NDArray[Any]) -> Picture:
    return np.ascontiguousarray(data, dtype=np.uint8)


def _depth(data: npt.NDArray[Any]) -> Picture:
    valid = np.isfinite(data)
    picture = _coloured(np.where(valid, data, 0.0) / DEPTH_MAX_M, cv2.COLORMAP_TURBO)
    picture[~valid] = 0
    return picture


def _radar(data: npt.NDArray[Any]) -> Picture:
    level = 20 * np.log10(np.maximum(np.nan_to_num(data[::-1].astype(np.float32)), np.float32(1e-6)))
    return _coloured((level - np.median(level)) / RADAR_RANGE_DB, cv2.COLORMAP_TURBO)


def _audio(data: npt.NDArray[Any]) -> Picture:
    sound = data[:, 0].astype(np.float32)
    sound = np.pad(sound, (0, max(0, _WINDOW - len(sound))))
    windows = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::_WINDOW // 4]
    spectrum = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW), axis=1)[:, :_WINDOW // 4]) / _WINDOW
    level = 20 * np.log10(spectrum + 1e-7)
    low, high = SOUND_DB
    return _coloured((level.T[::-1] - low) / (high - low), cv2.COLORMAP_MAGMA)


def _coloured(values: npt.NDArray[Any], colours: int) -> Picture:
    """Apply a colour map of OpenCV to values in [0, 1]."""
    steps = np.ascontiguousarray(np.clip(np.nan_to_num(values) * 255, 0, 255).astype(np.uint8))
    return np.ascontiguousarray(cv2.applyColorMap(steps, colours)[..., ::-1], dtype=np.uint8)


_PICTURES: Mapping[Modality, Callable[[npt.NDArray[Any]], Picture]] = {
    Modality.RGB: _rgb, Modality.DEPTH: _depth, Modality.RADAR: _radar, Modality.AUDIO: _audio}
