# SPDX-License-Identifier: Apache-2.0
"""A split of a dataset as an evaluation source. The corruption of a sample depends on seed and index alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from admn_ros.datasets.corrupted import CorruptedSource
from admn_ros.datasets.source import SampleSource
from admn_ros.errors import ConfigError, InputError
from admn_ros.evaluation.budgets import BudgetSource, constant_budgets
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.evaluation.records import Columns
from admn_ros.evaluation.source import Json, Readings, SourceFrame, Unit, preset_for
from admn_ros.inference.engine import Engine
from admn_ros.sample import SensorKey
from admn_ros.training.config import DataConfig
from admn_ros.training.sources import open_source

BLOCK = 50
"""Number of consecutive samples that count as one scene where a dataset does not name its recordings."""
UNIT_SAMPLES = 50
"""Samples of a unit; small enough that an interruption loses little work."""


@runtime_checkable
class HasRecordings(Protocol):
    """A dataset that names the recording of each sample."""

    def recording(self, index: int) -> str:
        """Return the name of the recording of a sample."""
        ...


class DatasetSource:
    """One split of a dataset. See `admn_ros.evaluation.source.EvaluationSource`.

    Raises:
        InputError: the dataset cannot be read, is empty, or has other classes than the model.
        ModelError: the model cannot be used.
    """

    def __init__(self, plan: EvaluationPlan) -> None:
        if plan.kind == "bag" or len(plan.sources) != 1:
            raise ConfigError("source", ", ".join(plan.sources), "one dataset, or bags")
        self._plan, self._name = plan, Path(plan.sources[0]).name
        self._samples: SampleSource = open_source(DataConfig(source=plan.kind, folder=plan.sources[0]), plan.split)
        if not len(self._samples):
            raise InputError(f"{plan.sources[0]}: {plan.split}", "no samples", "at least one")
        # One thread: another order of summation would change the last bits.
        self.engine = Engine(plan.model, plan.device, threads=1)
        classes = list(self.engine.config.classes)
        found = list(getattr(self._samples, "classes", classes))
        if found != classes:
            raise InputError(f"{self._name}: classes", ", ".join(found), f"{', '.join(classes)}, the model's")

    def units(self) -> list[Unit]:
        """See `EvaluationSource`."""
        length, limit = len(self._samples), self._plan.limit
        indices: list[int] = np.linspace(0, length - 1, min(limit or length, length)).round().astype(int).tolist()
        return [Unit(f"{corruption}-{i // UNIT_SAMPLES:05d}", corruption, 0, part, len(part))
                for corruption in self._plan.corruptions for i in range(0, len(indices), UNIT_SAMPLES)
                for part in [tuple(indices[i:i + UNIT_SAMPLES])]]

    def budgets(self, source: int) -> list[BudgetSource]:
        """See `EvaluationSource`."""
        return constant_budgets(self._plan)

    def frames(self, unit: Unit, budgets: list[BudgetSource]) -> Iterator[SourceFrame]:
        """See `EvaluationSource`."""
        corrupted, config = self._corrupted(unit.corruption), self.engine.config
        for index in unit.indices:
            readings, labels = (self._samples[index], {}) if corrupted is None else corrupted.labeled(index)
            yield SourceFrame(index, scene_of(self._samples, index), readings.sample(config), labels)

    def metadata(self, unit: Unit) -> Json:
        """See `EvaluationSource`."""
        return {"frames": len(unit.indices)}

    def with_ground_truth(self, unit: Unit, columns: Columns) -> Columns:
        """See `EvaluationSource`. Samples already carry their ground truth."""
        return columns

    def describe(self) -> Json:
        """See `EvaluationSource`."""
        return {"kind": self._plan.kind, "name": self._name, "split": self._plan.split,
                "frames_there": len(self._samples), "scene": "a recording of the dataset"
                if isinstance(self._samples, HasRecordings) else f"{BLOCK} samples that follow one another"}

    def readings(self, corruption: str, source: int, indices: Collection[int]) -> Iterator[tuple[int, Readings]]:
        """See `EvaluationSource`."""
        corrupted, config = self._corrupted(corruption), self.engine.config
        keys = [SensorKey(node, modality) for node in config.sensor_nodes for modality in config.modalities]
        for index in indices:
            found = (self._samples if corrupted is None else corrupted)[index].readings
            yield index, {key: found.get(key) for key in keys}

    def _corrupted(self, corruption: str) -> CorruptedSource | None:
        preset = preset_for(corruption, self._plan, self.engine.config, self._samples[0].audio_rate_hz or 16000)
        return None if preset is None else CorruptedSource(self._samples, preset, self._plan.seed)


def scene_of(samples: SampleSource, index: int) -> str:
    """Return the scene of a sample for the bootstrap: its recording, or a block of consecutive samples."""
    return samples.recording(index) if isinstance(samples, HasRecordings) else f"block-{index // BLOCK:05d}"
