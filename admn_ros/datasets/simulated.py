# SPDX-License-Identifier: Apache-2.0
"""Samples of the datasets that `admn simulate --dataset` makes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from admn_ros.config import NodePose, parse_config
from admn_ros.datasets.source import LabeledReadings, check_index
from admn_ros.errors import InputError
from admn_ros.recordings import shards
from admn_ros.sample import Array, Modality, SensorKey, Target

MODALITIES = (Modality.RGB, Modality.DEPTH, Modality.RADAR, Modality.AUDIO)


class SimulatedDataset:
    """One split, memory-mapped: nothing is read before it is asked for.

    Readings are those of `admn_ros.sample.Reading`: depth in metres with NaN, radar linear, audio full scale 1.
    """

    def __init__(self, folder: str | Path, split: str) -> None:
        """Open a split.

        Raises:
            InputError: no complete dataset, no such split, or a broken shard.
        """
        folder = Path(folder)
        splits, plan = shards.read_index(folder)
        if split not in splits:
            raise InputError("split", repr(split), ", ".join(splits))
        self.nodes: list[str] = plan["sensor_nodes"]
        self.classes: list[str] = plan["targets"]
        self._rate_hz: int = plan["audio_rate_hz"]
        self._shards, self._poses = [], []
        for name in splits[split]:
            arrays, meta = shards.read(folder, split, name)
            self._shards.append(arrays)
            self._poses.append(_poses(meta, folder / split / name))
            missing = {*map(str, MODALITIES), "time", "position", "label"} - set(arrays)
            if missing or len({len(a) for a in arrays.values()}) != 1:
                raise InputError(str(folder / split / name), f"unequal arrays, or without {sorted(missing) or '-'}",
                                 "one entry per sample in each array")
        self._names = splits[split]
        self._ends = np.cumsum([len(s["label"]) for s in self._shards]).tolist()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def recording(self, index: int) -> str:
        """The room that a sample is of; samples of one room are alike, and count together in bootstraps."""
        return self._names[bisect_right(self._ends, check_index(index, len(self)))]

    def __getitem__(self, index: int) -> LabeledReadings:
        index = check_index(index, len(self))
        number = bisect_right(self._ends, index)
        arrays = self._shards[number]
        row = index - (self._ends[number - 1] if number else 0)
        readings = {SensorKey(node, m): _decoded(m, arrays[m.value][row, k])
                    for k, node in enumerate(self.nodes) for m in MODALITIES}
        x, y, z = (float(v) for v in arrays["position"][row])
        return LabeledReadings(readings, Target((x, y, z), int(arrays["label"][row])),
                               stamp_ns=round(float(arrays["time"][row]) * 1e9), audio_rate_hz=self._rate_hz,
                               poses=self._poses[number])


def _poses(meta: Mapping[str, Any], shard: Path) -> dict[str, NodePose]:
    found = meta.get("node_poses")
    if not isinstance(found, dict):
        raise InputError(f"{shard}: node_poses", type(found).__name__, "the pose of each sensor node")
    return {node: parse_config(NodePose, pose, f"{shard}: node_poses.{node}") for node, pose in found.items()}


def _decoded(modality: Modality, stored: npt.NDArray[Any]) -> Array:
    match modality:
        case Modality.RGB:
            return np.array(stored)
        case Modality.DEPTH:
            metres: npt.NDArray[np.float32] = stored.astype(np.float32) * np.float32(0.001)
            metres[stored == 0] = np.nan
            return metres
        case Modality.RADAR:
            return stored.astype(np.float32)
        case Modality.AUDIO:
            sound: npt.NDArray[np.float32] = stored.astype(np.float32) / np.float32(32767.0)
            return sound
