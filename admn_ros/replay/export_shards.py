# SPDX-License-Identifier: Apache-2.0
"""Frames of a recording as shards: held readings are stored once, missing ones not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from admn_ros.inference.frame_stream import FrameStream
from admn_ros.recordings import shards
from admn_ros.recordings.shard_format import POSES, array_name, encode, row_name
from admn_ros.replay.ground_truth import NS
from admn_ros.sample import SensorFrame, SensorKey

MOST_BYTES = 256 << 20
"""Size of the readings in memory at which a shard is written."""


class _Readings:
    """Readings of one input in one shard."""

    def __init__(self) -> None:
        self.stored: list[npt.NDArray[Any]] = []
        self.rows: list[int] = []
        self._stamp_ns: int | None = None

    def add(self, key: SensorKey, frame: SensorFrame) -> int:
        """Add the reading of a frame; return the number of bytes that it adds."""
        reading = frame.readings[key]
        if reading.data is None:
            self.rows.append(-1)
            return 0
        if reading.stamp_ns != self._stamp_ns:
            self._stamp_ns = reading.stamp_ns
            self.stored.append(encode(key.modality, reading.data))
        self.rows.append(len(self.stored) - 1)
        return self.stored[-1].nbytes

    def arrays(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
        """Return all readings (K, ...), and the row of each frame (N,)."""
        stored = np.stack(self.stored) if self.stored else np.zeros((0, 1), np.uint8)
        return stored, np.array(self.rows, np.int32)


class Collector:
    """Collects the frames of one bag and writes them as complete shards of a dataset.

    A shard ends where the split or the scene ends, at `MOST_BYTES`, or when an input changes its size.

    Args:
        folder: folder of the dataset.
        bag: prefix of the shards' names.
        start_ns: start of the recording, nanoseconds.
        stream: source of the frames; if it follows the poses of the sensor nodes in TF, they are stored with each
            frame.
    """

    def __init__(self, folder: Path, bag: str, start_ns: int, stream: FrameStream) -> None:
        self._folder, self._bag, self._start_ns, self._stream = folder, bag, start_ns, stream
        self._keys = list(stream.inputs)
        self._nodes = list(dict.fromkeys(key.node for key in self._keys))
        self.written: dict[str, list[str]] = {}
        self.frames: dict[str, int] = {}
        self._number = 0
        self._begin("", "")

    def add(self, frame: SensorFrame, split: str, scene: str, position_m: npt.NDArray[np.float64],
            label: int) -> None:
        """Add a frame with its ground truth.

        Args:
            frame: frame.
            split: name of the split.
            scene: recording, or part of one, that the frame belongs to.
            position_m: true position (3,); NaN where unknown.
            label: true class; -1 where unknown.

        Raises:
            InputError: a full shard cannot be written.
        """
        shape = {k: r.data.shape for k, r in frame.readings.items() if r.data is not None}
        changed = any(self._shapes.get(key, found) != found for key, found in shape.items())
        if (split, scene) != (self._split, self._scene) or changed or self._bytes > MOST_BYTES:
            self.flush()
            self._begin(split, scene)
        self._shapes |= shape
        self._bytes += sum(self._readings[key].add(key, frame) for key in self._keys)
        self._stamps_ns.append(frame.stamp_ns)
        self._positions.append(position_m)
        self._labels.append(label)
        if self._stream.node_poses is not None:
            self._poses.append([self._stream.node_poses.poses[node].numbers for node in self._nodes])

    def flush(self) -> None:
        """Write the collected frames.

        Raises:
            InputError: the folder cannot be written.
        """
        if not self._stamps_ns:
            return
        name = f"{self._bag}-{self._number:05d}"
        self._number += 1
        if not shards.is_written(self._folder, self._split, name):
            shards.write(self._folder, self._split, name, self._arrays(), {
                "recording": self._scene, "frames": len(self._stamps_ns)})
        self.written.setdefault(self._split, []).append(name)
        self.frames[self._split] = self.frames.get(self._split, 0) + len(self._stamps_ns)
        self._begin(self._split, self._scene)

    def _begin(self, split: str, scene: str) -> None:
        self._split, self._scene, self._bytes = split, scene, 0
        self._readings = {key: _Readings() for key in self._keys}
        self._shapes: dict[SensorKey, tuple[int, ...]] = {}
        self._stamps_ns: list[int] = []
        self._positions: list[npt.NDArray[np.float64]] = []
        self._labels: list[int] = []
        self._poses: list[list[tuple[float, ...]]] = []

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        stamps_ns = np.array(self._stamps_ns, np.int64)
        arrays: dict[str, npt.NDArray[Any]] = {
            "stamp_ns": stamps_ns, "time": (stamps_ns - self._start_ns) / NS,
            "position": np.array(self._positions, np.float64), "label": np.array(self._labels, np.int64)}
        if self._poses:
            arrays[POSES] = np.array(self._poses, np.float64)
        for key, readings in self._readings.items():
            arrays[array_name(key)], arrays[row_name(key)] = readings.arrays()
        return arrays
