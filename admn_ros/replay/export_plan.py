# SPDX-License-Identifier: Apache-2.0
"""Plan of a dataset export: recordings, ground truth, and splits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from admn_ros import __version__
from admn_ros.config import Count, ModelConfig, NotNegative
from admn_ros.errors import InputError
from admn_ros.files import file_identity, source_fingerprint
from admn_ros.replay.bag_truth import BagTruth

SPLITS = ("train", "val", "test_time")
Shares = tuple[NotNegative, NotNegative, NotNegative]


class ExportPlan(BagTruth):
    """One dataset made from recordings.

    Splits are contiguous stretches of time. Frames drawn at random would be almost identical to their neighbours in
    another split, and a test on them would reward memorization.
    """

    sources: tuple[str, ...] = Field(min_length=1, description="rosbag2 recordings")
    shares: Shares = Field(
        default=(0.7, 0.15, 0.15), description="shares of each recording's duration for the splits train, val and "
                                               "test_time, in this order")
    pause_s: NotNegative = Field(
        default=2.0, description="gap between two splits in seconds, so that no audio window and no held reading is in "
                                 "both")
    every: Count = Field(default=1, description="keep every N-th frame")
    without_truth: Literal["drop", "keep"] = Field(
        default="drop", description="frames with neither position nor class: drop and count them, or keep them for "
                                    "training without labels")

    @field_validator("shares")
    @classmethod
    def _a_whole(cls, shares: tuple[float, float, float]) -> tuple[float, float, float]:
        if not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
            raise ValueError(f"must add up to 1, not {sum(shares):g}")
        return shares

    @field_validator("sources")
    @classmethod
    def _once(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(sources)) != len(sources):
            raise ValueError("names a bag twice")
        return sources

    def identity(self, config: ModelConfig) -> dict[str, Any]:
        """Return what a resumed export must share and a reader must know, as JSON values. Paths are not part of it.

        Raises:
            InputError: a bag or a file of ground truth cannot be read.
        """
        settings = self.model_dump(mode="json", exclude={"sources"})
        truth = Path(self.truth or "")
        if truth.is_file():
            settings["truth"] = file_identity(truth)
        return {"version": __version__, "settings": settings, "targets": list(config.classes),
                "frame_id": config.frame_id, "sensor_nodes": list(self.deployment.sensors),
                "inputs": [str(key) for key in self.deployment.inputs],
                "audio_rate_hz": config.audio_rate_hz,
                "bags": [{"name": Path(s).name, "fingerprint": source_fingerprint(Path(s))} for s in self.sources]}


class Blocks:
    """Splits of one recording, by time since its start.

    Args:
        plan: plan of the dataset.
        length_s: duration of the recording, in seconds.
        name: name of the recording, for errors.

    Raises:
        InputError: the recording is not longer than the pauses between its splits.
    """

    def __init__(self, plan: ExportPlan, length_s: float, name: str) -> None:
        used = [(split, share) for split, share in zip(SPLITS, plan.shares, strict=True) if share > 0]
        pauses_s = plan.pause_s * (len(used) - 1)
        if length_s <= pauses_s:
            raise InputError(f"{name}: seconds", f"{length_s:.3g}",
                             f"more than {pauses_s:g}, which are the pauses between its splits; --pause-s shortens "
                             "them, --shares 1 0 0 makes one split")
        self._blocks: list[tuple[str, float, float]] = []
        start_s = 0.0
        for split, share in used:
            stop_s = start_s + share * (length_s - pauses_s)
            self._blocks.append((split, start_s, stop_s))
            start_s = stop_s + plan.pause_s
        # Frames that are complete only after the last message belong to the last block.
        split, start_s, _ = self._blocks[-1]
        self._blocks[-1] = (split, start_s, math.inf)

    def split(self, time_s: float) -> str | None:
        """Return the split of a time in seconds; None in a pause."""
        return next((name for name, start_s, stop_s in self._blocks if start_s <= time_s < stop_s), None)
