# SPDX-License-Identifier: Apache-2.0
"""Results of the segmentation study."""

from __future__ import annotations

from typing import Literal

from admn_ros.benchmark.dynmm.strategies import Strategy
from admn_ros.benchmark.dynmm.study import GateResults, GateTrial

FILE = "segmentation.json"


class SegmentationTrial(GateTrial):
    """Figures of one network. Choices are 0 to 4 depth blocks.

    Attributes:
        kind: `static` for a network without a gate, or the training strategy of a gate.
        blocks: depth blocks of a static network; None for a gate.
        miou, interval: mean intersection over union, and its 95 % interval by room.
        class_iou: intersection over union of each class; null for a class without pixels.
        mmacs: mean million multiply-accumulate operations of a frame, gate included.
        miou_by_damage: mean intersection over union of the frames of `shares_by_damage`.
    """

    kind: Literal["static"] | Strategy
    blocks: int | None = None
    miou: float
    interval: tuple[float, float] | None = None
    class_iou: dict[str, float | None]
    mmacs: float
    miou_by_damage: dict[str, float]

    @property
    def network(self) -> tuple[object, ...]:
        """What identifies the trained network."""
        return *super().network, self.blocks


class SegmentationResults(GateResults[SegmentationTrial]):
    """Content of `segmentation.json`.

    Attributes:
        format: version of the format.
        test: split of the test.
        mmacs_by_blocks: million operations with 0 to 4 depth blocks, without gate.
        gate_mmacs: million operations of the gate.
    """

    format: Literal["admn-segmentation-1"] = "admn-segmentation-1"
    test: str
    mmacs_by_blocks: tuple[float, ...]
    gate_mmacs: float

    @property
    def sweep(self) -> list[SegmentationTrial]:
        """Jointly trained gates of the first seed by ascending lambda."""
        seed = min((t.seed for t in self.trials), default=0)
        return sorted((t for t in self.of("joint") if t.seed == seed), key=lambda t: t.price or 0.0)
