# SPDX-License-Identifier: Apache-2.0
"""Augmentation of readings: crops, mirroring, loudness and shifts in time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field

from admn_ros.config import AudioInput, InputConfig, ModelConfig, NotNegative, Strict
from admn_ros.datasets.source import LabeledReadings, SampleSource
from admn_ros.sample import Array, Modality
from admn_ros.training.data import Samples
from admn_ros.training.seeding import CORRUPTION, derive

ASPECTS = (3 / 4, 4 / 3)
_TRIES = 10


class AugmentConfig(Strict):
    """Augmentation in pretraining, drawn anew in every epoch. Radar is not augmented, because its axes are physical.

    Attributes:
        smallest_crop: smallest area of random crops of images and depth, as a fraction of the whole; 1 disables
            cropping. Aspect ratios are 3/4 to 4/3 of the model input's.
        flip: mirror half of the images and depth images.
        gain_db: largest random change of the audio level, in dB. Of a recording longer than the model's window a random
            section is used.
    """

    smallest_crop: Annotated[float, Field(gt=0, le=1)] = 0.2
    flip: bool = True
    gain_db: NotNegative = 6.0


class AugmentedSamples(Samples):
    """Samples whose readings are augmented in every epoch. The result depends on seed, epoch and index alone.

    Args:
        source: samples before preprocessing.
        model: model that they are for.
        augment: settings of the augmentation.
        seed: seed of order and augmentation.
        repeats, draws, cache_mb, workers, windows: as in `Samples`.

    Raises:
        InputError: the source is empty.
    """

    def __init__(self, source: SampleSource, model: ModelConfig, augment: AugmentConfig, *, seed: int = 0,
                 repeats: int = 1, draws: int | None = None, cache_mb: int = 0, workers: int = 0,
                 windows: bool = False) -> None:
        super().__init__(source, model, seed=seed, repeats=repeats, draws=draws, cache_mb=cache_mb, workers=workers,
                         windows=windows)
        self._augment = augment

    def draw(self, epoch: int) -> int:
        """Return the number of the augmentation draw of an epoch."""
        return epoch % self._draws if self._draws else epoch

    def _readings(self, draw: int, index: int) -> LabeledReadings:
        rng = np.random.default_rng([derive(self._seed, CORRUPTION, draw), index])
        source = self._source_of(draw)
        return augmented(source[index % len(source)], self._model, self._augment, rng)


def augmented(sample: LabeledReadings, model: ModelConfig, config: AugmentConfig,
              rng: np.random.Generator) -> LabeledReadings:
    """Augment each reading that is an input of the model, independently. The target does not change."""
    readings = {}
    for key, data in sample.readings.items():
        if key.modality not in model.modalities or key.node not in model.sensor_nodes:
            continue
        entry = model.modalities[key.modality].input
        if key.modality in (Modality.RGB, Modality.DEPTH):
            readings[key] = _image(data, entry, config, rng)
        elif isinstance(entry, AudioInput):
            readings[key] = _sound(data, entry, sample.audio_rate_hz or entry.sample_rate_hz, config, rng)
        else:
            readings[key] = data
    return replace(sample, readings=readings)


def _image(data: Array, entry: InputConfig, config: AugmentConfig, rng: np.random.Generator) -> Array:
    """Return a crop of an image (H, W, ...), possibly mirrored; preprocessing resizes it."""
    if config.smallest_crop < 1:
        top, left, height, width = crop_box(data.shape[0], data.shape[1], entry.shape[2] / entry.shape[1],
                                            config.smallest_crop, rng)
        data = data[top:top + height, left:left + width]
    if config.flip and rng.random() < 0.5:
        data = data[:, ::-1]
    return np.ascontiguousarray(data)


def crop_box(height: int, width: int, aspect: float, smallest: float,
             rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw a random crop and return its top, left, height and width.

    Args:
        height: height of the image.
        width: width of the image.
        aspect: aspect ratio (width over height) of the resized crop. The crop has 3/4 to 4/3 of it, uniformly in the
            logarithm.
        smallest: smallest share of the area; the share is uniform up to 1.
        rng: source of random numbers.
    """
    for _ in range(_TRIES):
        area = rng.uniform(smallest, 1.0) * height * width
        shape = aspect * math.exp(rng.uniform(math.log(ASPECTS[0]), math.log(ASPECTS[1])))
        rows, columns = round(math.sqrt(area / shape)), round(math.sqrt(area * shape))
        if 0 < rows <= height and 0 < columns <= width:
            return int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1)), rows, columns
    # Such a crop rarely fits into a much longer image. The largest one in the middle replaces it.
    rows, columns = max(1, min(height, round(width / aspect))), max(1, min(width, round(height * aspect)))
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def _sound(data: Array, entry: AudioInput, rate_hz: int, config: AugmentConfig, rng: np.random.Generator) -> Array:
    """Return a random piece of a recording (samples, channels) as long as the model's window, with random gain."""
    window = math.ceil((entry.fft + (entry.frames - 1) * entry.hop) * rate_hz / entry.sample_rate_hz)
    start = int(rng.integers(len(data) - window + 1)) if len(data) > window else 0
    gain = 10 ** (rng.uniform(-config.gain_db, config.gain_db) / 20)
    return np.asarray(data[start:start + window] * np.float32(gain), dtype=np.float32)
