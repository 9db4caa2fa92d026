# SPDX-License-Identifier: Apache-2.0
"""Samples of a dataset, corrupted the same way every time, through the evaluator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from admn_ros.config import DepthInput, ModelConfig
from admn_ros.datasets.corrupted import CorruptedSource
from admn_ros.datasets.source import SampleSource
from admn_ros.errors import ConfigError, InputError
from admn_ros.evaluation.evaluator import Evaluator
from admn_ros.evaluation.plan import CLEAN, EvaluationPlan
from admn_ros.evaluation.records import FrameRows
from admn_ros.sample import Modality
from admn_ros.sensing.corruption import DEPTH_MAX_M
from admn_ros.sensing.corruption_presets import CorruptionPreset, corruption_preset
from admn_ros.training.config import DataConfig
from admn_ros.training.sources import open_source

BLOCK = 50
"""Where a dataset does not say which recording a sample is of, so many neighbours count as one."""
Told = Callable[[int], None]
"""Called with the frames done since the last call."""


@runtime_checkable
class KnowsRecording(Protocol):
    """A source that knows which recording a sample is of."""

    def recording(self, index: int) -> str:
        """Name of the recording of a sample."""
        ...


def preset_for(name: str, plan: EvaluationPlan, config: ModelConfig, audio_rate_hz: int) -> CorruptionPreset | None:
    """The preset of a corruption for a model's inputs; None for clean."""
    if name == CLEAN:
        return None
    depth = config.modalities.get(Modality.DEPTH)
    depth_max_m = depth.input.max_m if depth is not None and isinstance(depth.input, DepthInput) else DEPTH_MAX_M
    return corruption_preset(name, plan.variant, depth_max_m=depth_max_m, audio_rate_hz=audio_rate_hz,
                             modalities=tuple(config.modalities))


class DatasetReplay:
    """The evaluated samples of one split.

    Raises:
        InputError: the dataset cannot be read, or is empty.
    """

    def __init__(self, plan: EvaluationPlan) -> None:
        (folder,) = plan.sources
        if plan.kind == "bag":
            raise ConfigError("kind", plan.kind, "a dataset")
        self._plan = plan
        self._source: SampleSource = open_source(DataConfig(source=plan.kind, folder=folder), plan.split)
        length = len(self._source)
        if not length:
            raise InputError(f"{folder}: {plan.split}", "no samples", "at least one")
        wanted = length if plan.limit is None else min(plan.limit, length)
        self.indices: list[int] = np.linspace(0, length - 1, wanted).round().astype(int).tolist()
        self.name = Path(folder).name

    def __len__(self) -> int:
        return len(self._source)

    def check(self, config: ModelConfig) -> None:
        """Refuse a dataset whose labels are not the model's classes.

        Raises:
            InputError: the classes differ.
        """
        classes = getattr(self._source, "classes", None)
        if classes is not None and list(classes) != list(config.classes):
            raise InputError(f"{self.name}: classes", ", ".join(classes), f"{', '.join(config.classes)}, the model's")

    def run(self, corruption: str, indices: list[int], evaluator: Evaluator, rows: FrameRows,
            told: Told) -> Iterator[FrameRows]:
        """Evaluate samples under a corruption; gives the rows once all are done.

        Raises:
            InputError: a sample cannot be read, or does not fit the model.
        """
        config = evaluator.engine.config
        rate_hz = self._source[0].audio_rate_hz or 16000
        preset = preset_for(corruption, self._plan, config, rate_hz)
        corrupted = None if preset is None else CorruptedSource(self._source, preset, self._plan.seed)
        for index in indices:
            readings, labels = (self._source[index], {}) if corrupted is None else corrupted.labeled(index)
            evaluator.run(rows, index, self._recording(index), readings.sample(config), labels)
            told(1)
        yield rows

    def _recording(self, index: int) -> str:
        if isinstance(self._source, KnowsRecording):
            return self._source.recording(index)
        return f"block-{index // BLOCK:05d}"
