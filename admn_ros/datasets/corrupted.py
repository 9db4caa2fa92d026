# SPDX-License-Identifier: Apache-2.0
"""A dataset seen through bad sensors: any source with a corruption preset, the same every time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from admn_ros.datasets.source import LabeledReadings, SampleSource, check_index
from admn_ros.errors import InputError
from admn_ros.sample import Modality
from admn_ros.sensing.corruption.corruption import CorruptionLabel
from admn_ros.sensing.corruption.presets import CorruptionPreset


class CorruptedSource:
    """Each sample of a source, corrupted as the preset draws for it; the severities are the target's corruption.

    A sample's draw depends on the seed, its index and its repeat alone, so that any order, any number of
    workers and any subset see the same data. For evaluation keep one seed; for training take another per epoch.
    """

    def __init__(self, source: SampleSource, preset: CorruptionPreset, seed: int, repeats: int = 1) -> None:
        """Wrap a source.

        Args:
            source: clean samples.
            preset: what to do to them; audio presets must be made for the source's rate.
            seed: not negative.
            repeats: how often each sample comes, each time with a draw of its own (the official low light
                and blur datasets have each frame in all three conditions; three repeats do so on average).

        Raises:
            InputError: a negative seed, or fewer than one repeat.
        """
        if seed < 0 or repeats < 1:
            raise InputError("seed, repeats", (seed, repeats), "not negative, at least 1")
        self._source, self._preset, self._seed, self._repeats = source, preset, seed, repeats

    def __len__(self) -> int:
        return len(self._source) * self._repeats

    def __getitem__(self, index: int) -> LabeledReadings:
        """Read and corrupt one sample; repeat r of sample i is number r * len(source) + i.

        Raises:
            InputError: as the source, or readings that are not of their modality.
            IndexError: no such sample.
        """
        return self.labeled(index)[0]

    def labels(self, index: int) -> Mapping[Modality, CorruptionLabel]:
        """What is done to a sample, by modality."""
        return self.labeled(index)[1]

    def labeled(self, index: int) -> tuple[LabeledReadings, Mapping[Modality, CorruptionLabel]]:
        """A sample and what is done to it, read once; errors as `__getitem__`."""
        index = check_index(index, len(self))
        sample = self._source[index % len(self._source)]
        bad = self._preset(sample.readings, np.random.default_rng([self._seed, index]), sample.scene)
        target = replace(sample.target, corruption=bad.severities)
        return replace(sample, readings=bad.readings, target=target), bad.labels
