# SPDX-License-Identifier: Apache-2.0
"""What a shard of a dataset holds, sample by sample, in either of its two layouts.

stacked     `rgb` (N, nodes, ...), `depth`, `radar`, `audio`: every sensor node has all of them at any time, and all
            have one size. What `admn simulate --dataset` writes.
listed      for each input `node1.rgb` (K, ...) and `node1.rgb.row` (N,): which of the K readings a sample has, or -1.
            Inputs can be missing, a slow one counts for several samples, and sizes differ from node to node. What
            `admn convert bag` writes.

In both rgb is uint8, depth uint16 millimetres with 0 where invalid, radar a linear magnitude, audio int16 whose full
scale is 32767; and `time` (N,) is seconds, `position` (N, 3) metres, `label` (N,) a class or -1. In the listed layout
`stamp_ns` (N,) are the stamps of the frames, and `poses` (N, nodes, 5), if there, x, y, z, yaw and tilt of the sensor
nodes in each (`admn_ros.config.NodePose`); in the stacked one the shard's meta data has them.
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
AUDIO_SCALE = 32767.0
DEPTH_SCALE = 1000.0

Arrays = Mapping[str, npt.NDArray[Any]]


def array_name(key: SensorKey) -> str:
    """Name of the readings of an input in the listed layout."""
    return f"{key.node}.{key.modality}"


def row_name(key: SensorKey) -> str:
    """Name of the numbers of readings of an input in the listed layout."""
    return f"{array_name(key)}.row"


@dataclass(frozen=True)
class Stacked:
    """A shard in the stacked layout; `nodes` in the order of the arrays."""

    arrays: Arrays
    nodes: Sequence[str]

    @classmethod
    def of(cls, arrays: Arrays, nodes: Sequence[str], shard: Path) -> Stacked:
        """Check a shard.

        Raises:
            InputError: an array is missing, or as long as no other.
        """
        missing = {*map(str, MODALITIES), *TRUTH} - set(arrays)
        if missing or len({len(a) for a in arrays.values()}) != 1:
            raise _unlike(shard, missing)
        return cls(arrays, nodes)

    def at(self, row: int) -> dict[SensorKey, Array]:
        """Readings of a sample."""
        return {SensorKey(node, m): decoded(m, self.arrays[m.value][row, k])
                for k, node in enumerate(self.nodes) for m in MODALITIES}


@dataclass(frozen=True)
class Listed:
    """A shard in the listed layout."""

    arrays: Arrays
    keys: Sequence[SensorKey]

    @classmethod
    def of(cls, arrays: Arrays, keys: Sequence[SensorKey], shard: Path) -> Listed:
        """Check a shard.

        Raises:
            InputError: an array is missing or has another length, or a number points nowhere.
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
        """Readings of a sample; what was missing is absent."""
        numbers = {key: int(self.arrays[row_name(key)][row]) for key in self.keys}
        return {key: decoded(key.modality, self.arrays[array_name(key)][number])
                for key, number in numbers.items() if number >= 0}


def encoded(modality: Modality, reading: Array) -> npt.NDArray[Any]:
    """A reading as it is stored. Depth is rounded to millimetres, and 65.5 m stands for all beyond."""
    match modality:
        case Modality.DEPTH:
            metres = reading.astype(np.float64)
            valid = (metres > 0) & (metres < np.inf)
            millimetres = np.clip(np.round(np.where(valid, metres, 0.0) * DEPTH_SCALE), valid, 65535)
            return millimetres.astype(np.uint16)
        case Modality.AUDIO:
            steps = np.round(reading.astype(np.float64) * AUDIO_SCALE)
            return np.clip(steps, -AUDIO_SCALE, AUDIO_SCALE).astype(np.int16)
        case _:
            return reading


def decoded(modality: Modality, stored: npt.NDArray[Any]) -> Array:
    """What was stored, as `admn_ros.sample.Reading` has it."""
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


def _unlike(shard: Path, missing: set[str]) -> InputError:
    return InputError(str(shard), f"unequal arrays, or without {sorted(missing) or '-'}",
                      "one entry per sample in each array")
