# SPDX-License-Identifier: Apache-2.0
"""A dataset under sensor corruption: any source with a corruption preset, reproducible in any order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from admn_ros.config import ModelConfig
from admn_ros.datasets.source import (
    LabeledReadings,
    SampleSource,
    check_index,
    earlier_sample,
    frame_number,
)
from admn_ros.errors import InputError
from admn_ros.sample import Array, Modality, SensorKey
from admn_ros.sensing.corruption.corruption import CorruptionLabel
from admn_ros.sensing.corruption.draws import Corrupted, CorruptionPreset, StreamPosition, Variant, apply_draws
from admn_ros.sensing.corruption.presets import preset_for_model

STRETCH_FRAMES = 30
"""Number of consecutive samples that share a draw of a temporal preset (freezing, delay)."""


def preset_for_source(name: str, source: SampleSource, model: ModelConfig,
                      variant: Variant = "paper") -> CorruptionPreset:
    """Return a corruption preset for the inputs of a model and the sample rate of a source, which is not empty.

    Raises:
        InputError: unknown name or variant, or the first sample of the source cannot be read.
    """
    return preset_for_model(name, model, variant, audio_rate_hz=source[0].audio_rate_hz)


class CorruptedSource:
    """Samples of a source, each with a corruption drawn for it; the severities are the corruption of the target.

    The draw of a sample depends on the seed, its index and its repeat alone. Any order, any number of workers and any
    subset give the same data. Presets that need consecutive frames draw once for each `STRETCH_FRAMES` samples.
    Evaluation keeps one seed; training takes another one for each epoch.

    Args:
        source: clean samples.
        preset: corruptions; audio corruptions must be made for the sample rate of the source.
        seed: seed, not negative.
        repeats: number of times that each sample comes, each time with its own draw. The official low light and blur
            datasets have each frame in all three conditions; three repeats do so on average.

    Raises:
        InputError: the seed is negative, there is less than one repeat, or the preset needs consecutive frames and the
            source does not have them.
    """

    def __init__(self, source: SampleSource, preset: CorruptionPreset, seed: int, repeats: int = 1) -> None:
        if seed < 0 or repeats < 1:
            raise InputError("seed, repeats", (seed, repeats), "not negative, at least 1")
        self._source, self._preset, self._seed, self._repeats = source, preset, seed, repeats
        if preset.temporal:
            frame_number(source, 0)

    def __len__(self) -> int:
        return len(self._source) * self._repeats

    def __getitem__(self, index: int) -> LabeledReadings:
        """Read and corrupt one sample; repeat r of sample i is number r * len(source) + i.

        Raises:
            InputError: the source cannot read the sample, or a reading is not of its modality.
            IndexError: there is no such sample.
        """
        return self.labeled(index)[0]

    def labels(self, index: int) -> Mapping[Modality, CorruptionLabel]:
        """Return the corruption of each modality of a sample."""
        return self.labeled(index)[1]

    def labeled(self, index: int,
                seed: int | None = None) -> tuple[LabeledReadings, Mapping[Modality, CorruptionLabel]]:
        """Return a corrupted sample and the corruption of each of its modalities, as `__getitem__` reads it.

        Args:
            index: number of the sample.
            seed: seed in place of the source's own.
        """
        index = check_index(index, len(self))
        seed = self._seed if seed is None else seed
        number = index % len(self._source)
        sample = self._source[number]
        stored = [str(key) for key in sample.tensors if key.modality in self._preset.modalities]
        if stored:
            raise InputError(f"corruption {self._preset.name}", f"preprocessed inputs {', '.join(stored)}",
                             "a corruption of other modalities, or clean")
        bad = self._preset(sample.readings, np.random.default_rng([seed, index]), sample.scene) \
            if not self._preset.temporal else self._stretch(sample, index // len(self._source), number, seed)
        target = replace(sample.target, corruption=bad.severities)
        return replace(sample, readings=bad.readings, target=target), bad.labels

    def clean(self, index: int) -> LabeledReadings:
        """Return a sample with severity 0 in all modalities of the preset; index and errors as `__getitem__`."""
        sample = self._source[check_index(index, len(self)) % len(self._source)]
        return replace(sample, target=replace(sample.target, corruption=dict.fromkeys(self._preset.modalities, 0.0)))

    def _stretch(self, sample: LabeledReadings, repeat: int, index: int, seed: int) -> Corrupted:
        number = frame_number(self._source, index)
        rng = np.random.default_rng([seed, repeat, number // STRETCH_FRAMES])
        draws = self._preset.draw(rng, sample.scene)

        @cache
        def earlier(frames: int) -> Mapping[SensorKey, Array] | None:
            found = earlier_sample(self._source, index, frames)
            return None if found is None else found.readings

        position = StreamPosition(number, (seed, repeat), earlier)
        return Corrupted(apply_draws(sample.readings, draws, rng, position), {m: d.label for m, d in draws.items()})
