# SPDX-License-Identifier: Apache-2.0
"""What a replay of a dataset and of bags have in common: pieces of work, each a function of the plan alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from admn_ros.config import DepthInput, ModelConfig
from admn_ros.evaluation.plan import CLEAN, EvaluationPlan
from admn_ros.evaluation.records import Columns
from admn_ros.inference.engine import Engine
from admn_ros.sample import Array, Modality, SensorKey
from admn_ros.sensing.corruption.corruption import DEPTH_MAX_M
from admn_ros.sensing.corruption.presets import CorruptionPreset, corruption_preset

Told = Callable[[int], None]
"""Called with the frames done since the last call."""
Figures = dict[str, Any]
Readings: TypeAlias = "Mapping[SensorKey, Array | None]"
"""Of each input that there could be; None for one that is missing."""


@dataclass(frozen=True)
class Unit:
    """A piece of work: samples of a dataset, or one bag, under one corruption.

    name: of its folder.
    source: number of the source.
    indices: samples; empty for a bag.
    frames: how many there will be, about.
    """

    name: str
    corruption: str
    source: int
    indices: tuple[int, ...]
    frames: int


class Replay(Protocol):
    """Sources and a model, ready to do pieces."""

    engine: Engine

    def units(self) -> list[Unit]:
        """All pieces, by corruption and in order."""
        ...

    def labels(self) -> list[Figures]:
        """Policy and budget of each variant, in the order of the columns."""
        ...

    def run(self, unit: Unit, told: Told) -> Iterator[Columns]:
        """Do a piece: columns, as they come.

        Raises:
            InputError: a source cannot be read, or does not fit the model.
        """
        ...

    def said(self, unit: Unit) -> Figures:
        """What is to be said of a piece that was done."""
        ...

    def with_truth(self, unit: Unit, columns: Columns) -> Columns:
        """Columns of a finished piece with the truth in them, if it comes apart from the frames."""
        ...

    def describe(self) -> Figures:
        """The sources, for the results."""
        ...

    def seen(self, corruption: str, source: int, indices: Collection[int]) -> Iterator[tuple[int, Readings]]:
        """What the model was given in some frames, read again.

        Raises:
            InputError: the source cannot be read.
        """
        ...


def preset_for(name: str, plan: EvaluationPlan, config: ModelConfig, audio_rate_hz: int) -> CorruptionPreset | None:
    """The preset of a corruption for a model's inputs; None for clean."""
    if name == CLEAN:
        return None
    depth = config.modalities.get(Modality.DEPTH)
    depth_max_m = depth.input.max_m if depth is not None and isinstance(depth.input, DepthInput) else DEPTH_MAX_M
    return corruption_preset(name, plan.variant, depth_max_m=depth_max_m, audio_rate_hz=audio_rate_hz,
                             modalities=tuple(config.modalities))
