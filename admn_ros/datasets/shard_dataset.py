# SPDX-License-Identifier: Apache-2.0
"""Datasets of shards, as `admn simulate --dataset` and `admn convert bag` write them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from admn_ros.config import NodePose, parse_config
from admn_ros.datasets.source import LabeledReadings, check_index
from admn_ros.errors import InputError
from admn_ros.recordings import shards
from admn_ros.recordings.shard_format import POSES, STAMPS, Arrays, Listed, Stacked
from admn_ros.sample import Modality, SensorKey, Target


@dataclass(frozen=True)
class _Shard:
    """One shard: readings, ground truth, constant poses of the sensor nodes if any, and its recording."""

    readings: Stacked | Listed
    arrays: Arrays
    nodes: list[str]
    poses: dict[str, NodePose] | None
    recording: str

    def __len__(self) -> int:
        return len(self.arrays["label"])

    def stamp_ns(self, row: int) -> int:
        if STAMPS in self.arrays:
            return int(self.arrays[STAMPS][row])
        return round(float(self.arrays["time"][row]) * 1e9)

    def poses_at(self, row: int) -> dict[str, NodePose] | None:
        if POSES not in self.arrays:
            return self.poses
        return {node: NodePose(x_m=x, y_m=y, z_m=z, yaw_rad=yaw, tilt_rad=tilt)
                for node, (x, y, z, yaw, tilt) in zip(self.nodes, self.arrays[POSES][row].tolist(), strict=True)}


class ShardDataset:
    """One split, memory-mapped.

    Readings are arrays as in `admn_ros.sample.Reading`: depth in metres with NaN, radar linear, audio full scale 1.
    Inputs that were missing in a recorded frame are absent.

    Attributes:
        nodes: sensor nodes.
        classes: names of the classes.
    """

    consecutive: Literal[True] = True

    def __init__(self, folder: str | Path, split: str) -> None:
        """Open a split.

        Raises:
            InputError: the folder is no complete dataset, has no such split, or a shard is broken.
        """
        folder = Path(folder)
        splits, plan = shards.read_index(folder)
        if split not in splits:
            raise InputError("split", repr(split), ", ".join(splits))
        self.nodes: list[str] = plan["sensor_nodes"]
        self.classes: list[str] = plan["targets"]
        self._rate_hz: int = plan["audio_rate_hz"]
        self._inputs = [_key(name) for name in plan["inputs"]] if "inputs" in plan else None
        self._shards = [self._open(folder, split, name) for name in splits[split]]
        self._ends = np.cumsum([len(s) for s in self._shards]).tolist()

    def _open(self, folder: Path, split: str, name: str) -> _Shard:
        arrays, meta = shards.read(folder, split, name)
        place = folder / split / name
        if self._inputs is None:
            return _Shard(Stacked.of(arrays, self.nodes, place), arrays, self.nodes, _poses(meta, place), name)
        listed, stretch = Listed.of(arrays, self._inputs, place), str(meta.get("recording", name))
        return _Shard(listed, arrays, self.nodes, None, stretch)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def recording(self, index: int) -> str:
        """Return the room, or the stretch of a recording, of a sample; bootstraps resample these as a whole."""
        return self._shards[bisect_right(self._ends, check_index(index, len(self)))].recording

    def __getitem__(self, index: int) -> LabeledReadings:
        index = check_index(index, len(self))
        number = bisect_right(self._ends, index)
        shard = self._shards[number]
        row = index - (self._ends[number - 1] if number else 0)
        x, y, z = (float(v) for v in shard.arrays["position"][row])
        return LabeledReadings(shard.readings.at(row), Target((x, y, z), int(shard.arrays["label"][row])),
                               stamp_ns=shard.stamp_ns(row), audio_rate_hz=self._rate_hz,
                               poses=shard.poses_at(row))


def _key(name: str) -> SensorKey:
    node, _, modality = name.partition("/")
    return SensorKey(node, Modality(modality))


def _poses(meta: Mapping[str, Any], shard: Path) -> dict[str, NodePose]:
    found = meta.get("node_poses")
    if not isinstance(found, dict):
        raise InputError(f"{shard}: node_poses", type(found).__name__, "the pose of each sensor node")
    return {node: parse_config(NodePose, pose, f"{shard}: node_poses.{node}") for node, pose in found.items()}
