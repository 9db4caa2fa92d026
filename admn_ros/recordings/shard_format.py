# SPDX-License-Identifier: Apache-2.0
"""Arrays of a dataset shard: two layouts, and one encoding of readings.

Layouts:

stacked     `rgb` (N, nodes, ...), `depth`, `radar`, `audio`: every sensor node has all of them in every sample, and all
            nodes have the same sizes. Written by `admn simulate --dataset`.
listed      for each input `node1.rgb` (K, ...) and `node1.rgb.row` (N,): the reading of each sample, or -1. Inputs can
            be missing, samples can share a reading, and sizes differ from node to node. Written by `admn convert bag`.

Both have `time` (N,) in seconds, `position` (N, 3) in metres and `label` (N,), a class or -1. The listed layout has
`stamp_ns` (N,) too, the stamps of the frames, and optionally `poses` (N, nodes, 5): x, y, z, yaw and tilt of the sensor
nodes (`admn_ros.config.NodePose`). The stacked layout has the poses in the metadata of the shard.

With `admn simulate --masks` the stacked layout also has `mask` (N, nodes, H, W), uint8: the class of each RGB pixel, an
index of `mask_classes` in the plan. `cameras` in the metadata of the shard registers depth to RGB.

Encoding (`encode`, `decode`):

rgb         uint8
depth       uint16 in millimetres, 1 to 65534, rounded and clamped; 0 is invalid. 65535 is never written: in 16UC1
            images it marks a saturated pixel. Older files may have it for depths beyond 65.5 m.
radar       linear magnitude, floating point; float16 in the stacked layout
audio       int16, -32767 to 32767 for -1.0 to 1.0, rounded and clamped. -32768 is never written: it would decode to
            a value beyond full scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.sample import Array, Modality, SensorKey

MODALITIES = (Modality.RGB, Modality.DEPTH, Modality.RADAR, Modality.AUDIO)
TRUTH = ("time", "position", "label")
STAMPS, POSES = "stamp_ns", "poses"
MASK, MASK_CLASSES, CAMERAS = "mask", "mask_classes", "cameras"
AUDIO_SCALE = 32767.0
DEPTH_SCALE = 1000.0
MAX_DEPTH_MM = 65534
MAX_RADAR = float(np.finfo(np.float16).max)
"""Largest magnitude of the stacked layout."""

Arrays = Mapping[str, npt.NDArray[Any]]


def array_name(key: SensorKey) -> str:
    """Return the name of the array with the readings of an input in the listed layout."""
    return f"{key.node}.{key.modality}"


def row_name(key: SensorKey) -> str:
    """Return the name of the array with the reading numbers of an input in the listed layout."""
    return f"{array_name(key)}.row"


@dataclass(frozen=True)
class Stacked:
    """A shard in the stacked layout.

    Attributes:
        arrays: arrays by name.
        nodes: sensor nodes in the order of the arrays.
    """

    arrays: Arrays
    nodes: Sequence[str]

    @classmethod
    def of(cls, arrays: Arrays, nodes: Sequence[str], shard: Path) -> Stacked:
        """Validate the arrays of a shard.

        Raises:
            InputError: an array is missing, or the lengths differ.
        """
        missing = {*map(str, MODALITIES), *TRUTH} - set(arrays)
        if missing or len({len(a) for a in arrays.values()}) != 1:
            raise _unlike(shard, missing)
        return cls(arrays, nodes)

    def at(self, row: int) -> dict[SensorKey, Array]:
        """Return the readings of a sample."""
        return {SensorKey(node, m): decode(m, self.arrays[m.value][row, k])
                for k, node in enumerate(self.nodes) for m in MODALITIES}


@dataclass(frozen=True)
class Listed:
    """A shard in the listed layout.

    Attributes:
        arrays: arrays by name.
        keys: inputs.
    """

    arrays: Arrays
    keys: Sequence[SensorKey]

    @classmethod
    def of(cls, arrays: Arrays, keys: Sequence[SensorKey], shard: Path) -> Listed:
        """Validate the arrays of a shard.

        Raises:
            InputError: an array is missing or has another length, or a reading number is out of range.
        """
        by_sample = (*TRUTH, STAMPS, *map(row_name, keys), *([POSES] if POSES in arrays else []))
        missing = {*by_sample, *map(array_name, keys)} - set(arrays)
        if missing or len({len(arrays[name]) for name in by_sample}) != 1:
            raise _unlike(shard, missing)
        for key in keys:
            rows = arrays[row_name(key)]
            if rows.min(initial=-1) < -1 or rows.max(initial=-1) >= len(arrays[array_name(key)]):
                raise InputError(f"{shard}: {row_name(key)}", f"{rows.min()} to {rows.max()}",
                                 f"-1 to {len(arrays[array_name(key)]) - 1}")
        return cls(arrays, keys)

    def at(self, row: int) -> dict[SensorKey, Array]:
        """Return the readings of a sample, without the missing ones."""
        numbers = {key: int(self.arrays[row_name(key)][row]) for key in self.keys}
        return {key: decode(key.modality, self.arrays[array_name(key)][number])
                for key, number in numbers.items() if number >= 0}


def encode(modality: Modality, reading: Array) -> npt.NDArray[Any]:
    """Encode a reading for storage.

    Args:
        modality: modality of the reading.
        reading: array as in `admn_ros.sample.Reading`.
    """
    match modality:
        case Modality.DEPTH:
            metres = reading.astype(np.float64)
            valid = (metres > 0) & (metres < np.inf)
            millimetres = np.clip(np.round(np.where(valid, metres, 0.0) * DEPTH_SCALE), valid, MAX_DEPTH_MM)
            return millimetres.astype(np.uint16)
        case Modality.AUDIO:
            steps = np.round(reading.astype(np.float64) * AUDIO_SCALE)
            return np.clip(steps, -AUDIO_SCALE, AUDIO_SCALE).astype(np.int16)
        case _:
            return reading


def decode(modality: Modality, stored: npt.NDArray[Any]) -> Array:
    """Decode a stored reading to an array as in `admn_ros.sample.Reading`."""
    match modality:
        case Modality.RGB:
            return np.array(stored)
        case Modality.DEPTH:
            metres: npt.NDArray[np.float32] = stored.astype(np.float32) * np.float32(1 / DEPTH_SCALE)
            metres[stored == 0] = np.nan
            return metres
        case Modality.RADAR:
            return stored.astype(np.float32)
        case Modality.AUDIO:
            sound: npt.NDArray[np.float32] = stored.astype(np.float32) / np.float32(AUDIO_SCALE)
            return sound


def stack(samples: Sequence[Mapping[SensorKey, Array]], nodes: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Encode samples for the stacked layout.

    Args:
        samples: readings of each sample, complete.
        nodes: sensor nodes, in the order of the arrays.

    Returns:
        Array (samples, nodes, ...) of each modality, by its name.
    """
    arrays = {m.value: np.stack([np.stack([encode(m, sample[SensorKey(node, m)]) for node in nodes])
                                 for sample in samples]) for m in MODALITIES}
    radar = Modality.RADAR.value
    arrays[radar] = np.minimum(arrays[radar], MAX_RADAR).astype(np.float16)
    return arrays


def _unlike(shard: Path, missing: set[str]) -> InputError:
    return InputError(str(shard), f"unequal arrays, or without {sorted(missing) or '-'}",
                      "one entry per sample in each array")
