# SPDX-License-Identifier: Apache-2.0
"""Interface of the sources of an evaluation: a split of a dataset, or recordings.

The work is divided into units. The frames of a unit depend on the plan alone, not on other units.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from admn_ros.evaluation.budgets import BudgetSource
from admn_ros.evaluation.records import CLEAN, Columns
from admn_ros.inference.engine import Engine
from admn_ros.sample import Array, Modality, MultimodalSample, SensorKey
from admn_ros.sensing.corruption.corruption import CorruptionLabel

Json = dict[str, Any]
OnFrames = Callable[[int], None]
"""Called with the number of frames done since the last call."""
Readings: TypeAlias = "Mapping[SensorKey, Array | None]"
"""Reading of each input; None for a missing one."""


@dataclass(frozen=True)
class Unit:
    """Unit of work: samples of a dataset, or one bag, under one corruption.

    Attributes:
        name: name of the unit's folder.
        corruption: "clean", or name of a corruption preset.
        source: index of the bag; 0 for a dataset.
        indices: indices of the samples; empty for a bag.
        frames: approximate number of frames.
    """

    name: str
    corruption: str
    source: int
    indices: tuple[int, ...]
    frames: int


@dataclass(frozen=True)
class SourceFrame:
    """One frame of a unit, corrupted and preprocessed.

    Attributes:
        index: number of the sample in its dataset, or of the frame in its bag.
        scene: recording that the frame belongs to, for the bootstrap.
        sample: network inputs, with the ground truth if the source has it per sample.
        corruption: injected corruption of each modality; modalities without an entry are clean.
        now_s: time at which the frame was complete, in seconds; 0 where budgets do not change.
    """

    index: int
    scene: str
    sample: MultimodalSample
    corruption: Mapping[Modality, CorruptionLabel]
    now_s: float = 0.0

    @property
    def damaged(self) -> frozenset[Modality]:
        """Modalities with an injected corruption."""
        return frozenset(m for m, label in self.corruption.items() if label.kind != CLEAN.kind)


class EvaluationSource(Protocol):
    """Frames, with the model that they are prepared for."""

    engine: Engine

    def units(self) -> list[Unit]:
        """Return all units of work, by corruption and in order."""
        ...

    def budgets(self, source: int) -> list[BudgetSource]:
        """Return new budgets for one pass over a source."""
        ...

    def frames(self, unit: Unit, budgets: list[BudgetSource]) -> Iterator[SourceFrame]:
        """Read the frames of a unit. Budgets that follow the recording are updated on the way.

        Raises:
            InputError: a source cannot be read, or does not fit the model.
        """
        ...

    def metadata(self, unit: Unit) -> Json:
        """Describe a unit whose frames were all read: counts, and statistics of each input."""
        ...

    def with_ground_truth(self, unit: Unit, columns: Columns) -> Columns:
        """Return the records of a finished unit with the ground truth filled in."""
        ...

    def describe(self) -> Json:
        """Describe the source for results.json."""
        ...

    def readings(self, corruption: str, source: int, indices: Collection[int]) -> Iterator[tuple[int, Readings]]:
        """Read the sensor readings of some frames again, as the model got them.

        Raises:
            InputError: the source cannot be read.
        """
        ...
