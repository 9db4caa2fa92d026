# SPDX-License-Identifier: Apache-2.0
"""Split of a dataset as an evaluation source. The corruption of a sample depends on seed and index alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from admn_ros.datasets.corrupted import CorruptedSource, preset_for_source
from admn_ros.datasets.open import open_dataset
from admn_ros.datasets.source import SampleSource, recording_of, spread_indices
from admn_ros.errors import ConfigError
from admn_ros.evaluation.budgets import BudgetSource, constant_budgets
from admn_ros.evaluation.plan import CLEAN, EvaluationPlan
from admn_ros.evaluation.records import Columns
from admn_ros.evaluation.source import Json, Readings, SourceFrame, Unit
from admn_ros.inference.engine import Engine
from admn_ros.sample import SensorKey

BLOCK = 50
"""Number of consecutive samples that count as one scene where a dataset does not name its recordings."""
UNIT_SAMPLES = 50
"""Samples of a unit; small enough that an interruption loses little work."""


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
        # One thread: another order of summation would change the last bits.
        self.engine = Engine(plan.model, plan.device, threads=1, choice=plan.runtime)
        self._samples = open_dataset(plan.kind, plan.sources[0], plan.split, model=self.engine.config)

    def units(self) -> list[Unit]:
        """See `EvaluationSource`."""
        indices = spread_indices(len(self._samples), self._plan.limit)
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
                if recording_of(self._samples, 0) is not None else f"{BLOCK} samples that follow one another"}

    def readings(self, corruption: str, source: int, indices: Collection[int]) -> Iterator[tuple[int, Readings]]:
        """See `EvaluationSource`."""
        corrupted, config = self._corrupted(corruption), self.engine.config
        keys = [SensorKey(node, modality) for node in config.sensor_nodes for modality in config.modalities]
        for index in indices:
            found = (self._samples if corrupted is None else corrupted)[index].readings
            yield index, {key: found.get(key) for key in keys}

    def _corrupted(self, corruption: str) -> CorruptedSource | None:
        if corruption == CLEAN:
            return None
        preset = preset_for_source(corruption, self._samples, self.engine.config, self._plan.variant)
        return CorruptedSource(self._samples, preset, self._plan.seed)


def scene_of(samples: SampleSource, index: int) -> str:
    """Return the scene of a sample for the bootstrap: its recording, or a block of consecutive samples."""
    return recording_of(samples, index) or f"block-{index // BLOCK:05d}"
