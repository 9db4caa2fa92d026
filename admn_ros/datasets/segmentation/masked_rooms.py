# SPDX-License-Identifier: Apache-2.0
"""Segmentation of simulated rooms: one RGB-D camera per sample, depth registered to RGB, a class for each pixel."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import Any

import numpy as np

from admn_ros.datasets.source import LabeledReadings, check_index
from admn_ros.errors import InputError
from admn_ros.recordings import shards
from admn_ros.recordings.shard_format import CAMERAS, MASK, MASK_CLASSES, Stacked
from admn_ros.sample import Modality, SensorKey, Target
from admn_ros.sensing.preprocess.registration import RgbdCameras, register_depth

CAMERA = "camera"
"""Sensor node of every sample."""


class MaskedRooms:
    """One split of a dataset of `admn simulate --dataset DIR --masks`; each sensor node of a frame is a sample.

    Attributes:
        mask_classes: names of the classes of the pixels.
    """

    def __init__(self, folder: str | Path, split: str) -> None:
        """Open a split.

        Raises:
            InputError: the folder is no complete dataset, has no such split or no masks, or a shard is broken.
        """
        folder = Path(folder)
        splits, plan = shards.read_index(folder)
        if split not in splits:
            raise InputError("split", repr(split), ", ".join(splits))
        if MASK_CLASSES not in plan:
            raise InputError(f"{folder}: masks", "none", "a dataset of `admn simulate --dataset DIR --masks`")
        self.mask_classes: tuple[str, ...] = tuple(plan[MASK_CLASSES])
        self._nodes: list[str] = plan["sensor_nodes"]
        self._names = splits[split]
        self._shards = [self._open(folder, split, name) for name in self._names]
        self._ends = np.cumsum([len(s.arrays["label"]) for s, _ in self._shards]).tolist()

    def _open(self, folder: Path, split: str, name: str) -> tuple[Stacked, RgbdCameras]:
        arrays, meta = shards.read(folder, split, name)
        place = folder / split / name
        if MASK not in arrays or not isinstance(meta.get(CAMERAS), dict):
            raise InputError(f"{place}: masks", "none", "masks and cameras, as in the other shards")
        return Stacked.of(arrays, self._nodes, place), _cameras(meta[CAMERAS], place)

    def __len__(self) -> int:
        return len(self._nodes) * (self._ends[-1] if self._ends else 0)

    def recording(self, index: int) -> str:
        """Return the room of a sample; bootstraps resample these as a whole."""
        return self._names[self._place(check_index(index, len(self)))[0]]

    def __getitem__(self, index: int) -> LabeledReadings:
        shard, row, node = self._place(check_index(index, len(self)))
        stacked, cameras = self._shards[shard]
        readings = stacked.at(row)
        rgb, depth = (readings[SensorKey(self._nodes[node], m)] for m in (Modality.RGB, Modality.DEPTH))
        registered = register_depth(depth.astype(np.float32), cameras, rgb.shape[:2])
        mask = stacked.arrays[MASK][row, node].astype(np.int16)
        target = Target((np.nan, np.nan, np.nan), mask=mask)
        return LabeledReadings({SensorKey(CAMERA, Modality.RGB): rgb, SensorKey(CAMERA, Modality.DEPTH): registered},
                               target, stamp_ns=round(float(stacked.arrays["time"][row]) * 1e9))

    def _place(self, index: int) -> tuple[int, int, int]:
        """Return shard, row and sensor node of a sample."""
        frame, node = divmod(index, len(self._nodes))
        shard = bisect_right(self._ends, frame)
        return shard, frame - (self._ends[shard - 1] if shard else 0), node


def _cameras(found: dict[str, Any], place: Path) -> RgbdCameras:
    shapes = {"rgb_matrix": (3, 3), "depth_matrix": (3, 3), "rotation": (3, 3), "translation_m": (3,)}
    try:
        parts = {name: np.asarray(found[name], np.float64) for name in shapes}
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{place}: {CAMERAS}", f"{error}", ", ".join(shapes)) from error
    for name, shape in shapes.items():
        if parts[name].shape != shape:
            raise InputError(f"{place}: {CAMERAS}.{name}", f"{parts[name].shape}", f"{shape}")
    return RgbdCameras(**parts)
