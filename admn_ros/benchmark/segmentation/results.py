# SPDX-License-Identifier: Apache-2.0
"""Results of the segmentation study: one trial for each trained network, in one JSON file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from admn_ros.benchmark.dynmm.results import COLLAPSED
from admn_ros.benchmark.dynmm.strategies import Strategy
from admn_ros.config import Strict, parse_config
from admn_ros.files import read_json, write_json

FILE = "segmentation.json"


class SegmentationTrial(Strict):
    """Figures of one network on the test split.

    Attributes:
        kind: `static` for a network without a gate, or the training strategy of a gate.
        blocks: depth blocks of a static network; None for a gate.
        price: lambda; None for a static network.
        seed: seed of the training.
        miou, interval: mean intersection over union, and its 95 % interval by room.
        class_iou: intersection over union of each class; null for a class without pixels.
        mmacs: mean million multiply-accumulate operations of a frame, gate included.
        shares: share of frames with 0 to 4 depth blocks; empty for a static network.
        shares_by_damage: the same for the frames in which these modalities were damaged (`none`, `rgb`, ...).
        miou_by_damage: mean intersection over union of these frames.
    """

    kind: Literal["static"] | Strategy
    blocks: int | None = None
    price: float | None = None
    seed: int
    miou: float
    interval: tuple[float, float] | None = None
    class_iou: dict[str, float | None]
    mmacs: float
    shares: tuple[float, ...] = ()
    shares_by_damage: dict[str, tuple[float, ...]] = Field(default={})
    miou_by_damage: dict[str, float]

    @property
    def collapsed(self) -> int | None:
        """Number of depth blocks that almost every frame gets; None if it varies."""
        most = max(self.shares, default=0.0)
        return self.shares.index(most) if most >= COLLAPSED else None


class SegmentationResults(Strict):
    """Content of `segmentation.json`.

    Attributes:
        format: version of the format.
        config: fingerprint of the configuration.
        command: command that made it.
        notes: notes of the configuration.
        corruption, test: corruption, and split of the test.
        samples: training and test images.
        mmacs_by_blocks: million operations with 0 to 4 depth blocks, without gate.
        gate_mmacs: million operations of the gate.
        price: lambda of the ablation.
        trials: results of all networks.
    """

    format: Literal["admn-segmentation-1"] = "admn-segmentation-1"
    config: str
    command: str
    notes: str
    corruption: str
    test: str
    samples: tuple[int, int]
    mmacs_by_blocks: tuple[float, ...]
    gate_mmacs: float
    price: float
    trials: tuple[SegmentationTrial, ...] = ()

    def with_trial(self, new: SegmentationTrial) -> SegmentationResults:
        """Return the results with a new trial; it takes the place of that of the same network."""
        found = {(t.kind, t.blocks, t.price, t.seed): t for t in (*self.trials, new)}
        return self.model_copy(update={"trials": tuple(found.values())})

    def of(self, kind: str, price: float | None = None) -> list[SegmentationTrial]:
        """Return the trials of a kind, and of a price if it is not None."""
        return [t for t in self.trials if t.kind == kind and price in (None, t.price)]

    @property
    def sweep(self) -> list[SegmentationTrial]:
        """Jointly trained gates of the first seed by ascending lambda."""
        seed = min((t.seed for t in self.trials), default=0)
        return sorted((t for t in self.of("joint") if t.seed == seed), key=lambda t: t.price or 0.0)


def read_segmentation(path: Path) -> SegmentationResults:
    """Read `segmentation.json`.

    Raises:
        InputError: it cannot be read.
        ConfigError: it is malformed.
    """
    return parse_config(SegmentationResults, read_json(path, "results of `admn segmentation`"), str(path))


def write_segmentation(results: SegmentationResults, path: Path) -> None:
    """Write `segmentation.json`.

    Raises:
        InputError: it cannot be written.
    """
    write_json(path, results.model_dump(mode="json"))
