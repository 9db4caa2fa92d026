# SPDX-License-Identifier: Apache-2.0
"""Samples of the result tables: splits of one dataset under one corruption, preprocessed once and kept in files."""

from __future__ import annotations

import functools
import zlib
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from admn_ros.benchmark.tables.config import SplitConfig, StudyConfig
from admn_ros.datasets.corrupted import preset_for_source
from admn_ros.datasets.open import open_dataset
from admn_ros.datasets.source import SampleSource, recording_of
from admn_ros.model.presets import preset
from admn_ros.training.cache import FolderCache
from admn_ros.training.data import Samples
from admn_ros.training.seeding import CORRUPTION, VALIDATION, derive


class CorruptedSplits:
    """Training, validation and test samples under one corruption.

    Args:
        config: configuration of the study.
        corruption: name of the corruption preset.
        dataset: folder of the dataset.
        folder: folder of the preprocessed samples.

    Raises:
        InputError: the dataset cannot be read.
    """

    def __init__(self, config: StudyConfig, corruption: str, dataset: Path, folder: Path) -> None:
        self._config, self._corruption, self._dataset, self._folder = config, corruption, dataset, folder
        self._test_source = self._open(config.test)
        self._train = self._samples(config.train, self._open(config.train), 0)
        self.validation = self._samples(config.validation, self._open(config.validation),
                                        derive(config.seed, VALIDATION))
        self.test = self._samples(config.test, self._test_source, 0)

    def train(self, seed: int, clean_epochs: int) -> Samples:
        """Return the training samples in the order of a seed; the first `clean_epochs` epochs are not corrupted."""
        return self._train.ordered(seed, clean_epochs)

    def scene(self, index: int) -> str:
        """Return the recording of a test sample, for the bootstrap."""
        return recording_of(self._test_source, index) or str(index)

    @functools.cached_property
    def constant_m(self) -> Tensor:
        """Mean position of the training samples, (2,) in metres: the answer of the constant predictor."""
        targets = (self._train.sample(0, i).target for i in range(len(self._train)))
        positions = torch.tensor([t.position_m[:2] for t in targets if t is not None], dtype=torch.float64)
        return positions[positions.isfinite().all(dim=1)].mean(dim=0)

    @functools.cached_property
    def constant_label(self) -> int:
        """Most frequent class of the training samples."""
        targets = (self._train.sample(0, i).target for i in range(len(self._train)))
        return Counter(t.label for t in targets if t is not None and t.label >= 0).most_common(1)[0][0]

    def _open(self, wanted: SplitConfig) -> SampleSource:
        return open_dataset(self._config.kind, self._dataset, wanted.split, model=preset(self._config.model),
                            viewpoints=wanted.viewpoints, limit=wanted.samples)

    def _samples(self, wanted: SplitConfig, source: SampleSource, seed: int) -> Samples:
        model, name = preset(self._config.model), wanted.split

        def noise(draw: int) -> int:
            # Each split has its own noise.
            number = derive(draw, CORRUPTION, zlib.crc32(name.encode()))
            return derive(self._config.seed, CORRUPTION, number)

        cache = FolderCache(self._folder / f"{self._corruption}-{name}-{wanted.samples}", model, len(source))
        return Samples(source, model, preset_for_source(self._corruption, source, model), seed=seed,
                       draws=wanted.draws, cache=cache, noise=noise, windows=wanted.windows == "random")
