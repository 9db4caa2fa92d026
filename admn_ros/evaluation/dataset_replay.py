# SPDX-License-Identifier: Apache-2.0
"""Samples of a dataset, corrupted the same way every time, through the evaluator."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from admn_ros.datasets.corrupted import CorruptedSource
from admn_ros.datasets.source import SampleSource
from admn_ros.errors import ConfigError, InputError
from admn_ros.evaluation.budgets import ConstantBudget
from admn_ros.evaluation.evaluator import Evaluator, variants_of
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.evaluation.records import Columns, FrameRows
from admn_ros.evaluation.work_units import Figures, Readings, Told, Unit, preset_for
from admn_ros.inference.engine import Engine
from admn_ros.sample import SensorKey
from admn_ros.training.config import DataConfig
from admn_ros.training.sources import open_source

BLOCK = 50
"""Where a dataset does not say which recording a sample is of, so many neighbours count as one."""
PIECE = 50
"""Samples in a piece: small enough that little is lost by an interruption."""


@runtime_checkable
class KnowsRecording(Protocol):
    """A source that knows which recording a sample is of."""

    def recording(self, index: int) -> str:
        """Name of the recording of a sample."""
        ...


class DatasetReplay:
    """One split of a dataset. See `admn_ros.evaluation.work_units.Replay`.

    Raises:
        InputError: the dataset cannot be read, is empty, or has other classes than the model.
        ModelError: the model cannot be used.
    """

    def __init__(self, plan: EvaluationPlan) -> None:
        if plan.kind == "bag" or len(plan.sources) != 1:
            raise ConfigError("source", ", ".join(plan.sources), "one dataset, or bags")
        self._plan, self._name = plan, Path(plan.sources[0]).name
        self._source: SampleSource = open_source(DataConfig(source=plan.kind, folder=plan.sources[0]), plan.split)
        if not len(self._source):
            raise InputError(f"{plan.sources[0]}: {plan.split}", "no samples", "at least one")
        # One thread: sums in another order would differ in the last bits.
        self.engine = Engine(plan.model, plan.device, threads=1)
        self._variants = variants_of(plan.policies, [ConstantBudget(limit, plan.unit) for limit in plan.budgets])
        self._evaluator = Evaluator(self.engine, self._variants, plan.rate_hz)
        classes = list(self.engine.config.classes)
        found = list(getattr(self._source, "classes", classes))
        if found != classes:
            raise InputError(f"{self._name}: classes", ", ".join(found), f"{', '.join(classes)}, the model's")

    def units(self) -> list[Unit]:
        """See `Replay`."""
        indices = self._indices()
        return [Unit(f"{corruption}-{i // PIECE:05d}", corruption, 0, piece, len(piece))
                for corruption in self._plan.corruptions for i in range(0, len(indices), PIECE)
                for piece in [tuple(indices[i:i + PIECE])]]

    def labels(self) -> list[Figures]:
        """See `Replay`."""
        return [v.label for v in self._variants]

    def run(self, unit: Unit, told: Told) -> Iterator[Columns]:
        """See `Replay`."""
        corrupted, rows = self._corrupted(unit.corruption), FrameRows(self.engine.config)
        for index in unit.indices:
            readings, labels = (self._source[index], {}) if corrupted is None else corrupted.labeled(index)
            self._evaluator.run(rows, index, self._recording(index), readings.sample(self.engine.config), labels)
            told(1)
        yield rows.take()

    def said(self, unit: Unit) -> Figures:
        """See `Replay`."""
        return {"frames": len(unit.indices)}

    def with_truth(self, unit: Unit, columns: Columns) -> Columns:
        """See `Replay`: samples bring their truth."""
        return columns

    def describe(self) -> Figures:
        """See `Replay`."""
        return {"kind": self._plan.kind, "name": self._name, "split": self._plan.split,
                "frames_there": len(self._source), "scene": "a recording of the dataset"
                if isinstance(self._source, KnowsRecording) else f"{BLOCK} samples that follow one another"}

    def seen(self, corruption: str, source: int, indices: Collection[int]) -> Iterator[tuple[int, Readings]]:
        """See `Replay`."""
        corrupted, config = self._corrupted(corruption), self.engine.config
        keys = [SensorKey(node, modality) for node in config.sensor_nodes for modality in config.modalities]
        for index in indices:
            found = (self._source if corrupted is None else corrupted)[index].readings
            yield index, {key: found.get(key) for key in keys}

    def _corrupted(self, corruption: str) -> CorruptedSource | None:
        preset = preset_for(corruption, self._plan, self.engine.config, self._source[0].audio_rate_hz or 16000)
        return None if preset is None else CorruptedSource(self._source, preset, self._plan.seed)

    def _indices(self) -> list[int]:
        length, limit = len(self._source), self._plan.limit
        found: list[int] = np.linspace(0, length - 1, min(limit or length, length)).round().astype(int).tolist()
        return found

    def _recording(self, index: int) -> str:
        if isinstance(self._source, KnowsRecording):
            return self._source.recording(index)
        return f"block-{index // BLOCK:05d}"
