# SPDX-License-Identifier: Apache-2.0
"""Micro datasets of shards for `helpers.models`: noise, or a bright spot where the car is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from admn_ros.recordings import shards

CLASSES = ("red_car", "green_car", "none")
COLOURS = ((200, 40, 40), (40, 200, 40))
POSES = {"node1": {"x_m": 0.0, "y_m": -2.0, "yaw_rad": 1.57}, "node2": {"x_m": 0.0, "y_m": 2.0, "yaw_rad": -1.57}}
Arrays = dict[str, np.ndarray]


def write_dataset(folder: Path, splits: Mapping[str, Sequence[Arrays]], classes: Sequence[str] = CLASSES,
                  nodes: Sequence[str] = tuple(POSES)) -> Path:
    """Write a dataset folder; each split has one shard for each entry."""
    shards.begin(folder, {"targets": list(classes), "audio_rate_hz": 16000, "sensor_nodes": list(nodes)})
    names = {split: [f"shard-{k:05d}" for k in range(len(parts))] for split, parts in splits.items()}
    for split, parts in splits.items():
        for name, arrays in zip(names[split], parts, strict=True):
            shards.write(folder, split, name, arrays, {"node_poses": {n: POSES[n] for n in nodes}})
    shards.finish(folder, names)
    return folder


def write_three_splits(folder: Path) -> Path:
    """Write noise of one sensor node: 8 samples for training, 6 for validation, 6 recordings of 2 for tests."""
    splits = {split: [noise(count, len(split), classes=2, nodes=1)] for split, count in {"train": 8, "val": 6}.items()}
    splits["test_time"] = [noise(2, seed, classes=2, nodes=1) for seed in range(6)]
    return write_dataset(folder, splits, ("car", "none"), ("node1",))


def noise(count: int, seed: int, classes: int = 3, nodes: int = 2) -> Arrays:
    """Return samples of noise. Every third one has no car, which is the last class."""
    rng = np.random.default_rng(seed)
    label, position = _targets(count, rng, classes)
    return {"rgb": rng.integers(0, 256, (count, nodes, 24, 24, 3), dtype=np.uint8),
            "depth": rng.integers(500, 6000, (count, nodes, 24, 24), dtype=np.uint16),
            "radar": rng.uniform(0, 3, (count, nodes, 8, 8)).astype(np.float16),
            "audio": rng.normal(0, 3000, (count, nodes, 2176, 2)).astype(np.int16),
            "time": np.arange(count) * 0.5, "position": position, "label": label}


def bright_spots(count: int, seed: int) -> Arrays:
    """Return samples with a spot in the car's colour, nearer than its surroundings, where the car is.

    Cars are loud. Every third sample has no car.
    """
    rng = np.random.default_rng(seed)
    label, position = _targets(count, rng, 3)
    rgb = np.full((count, 2, 24, 24, 3), 90, np.uint8)
    depth = np.full((count, 2, 24, 24), 4000, np.uint16)
    audio = rng.normal(0, 300, (count, 2, 2176, 2)).astype(np.int16)
    for i in np.flatnonzero(label < 2):
        x, y = ((position[i, :2] + 2) * 6).astype(int)
        rgb[i, :, y - 2:y + 3, x - 2:x + 3] = COLOURS[label[i]]
        depth[i, :, y - 2:y + 3, x - 2:x + 3] = 1500
        audio[i] *= 10
    radar = rng.uniform(0, 3, (count, 2, 8, 8)).astype(np.float16)
    return {"rgb": rgb, "depth": depth, "radar": radar, "audio": audio, "time": np.arange(count) * 0.5,
            "position": position, "label": label}


def _targets(count: int, rng: np.random.Generator, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (count,) and positions (count, 3) in metres, NaN where there is no car."""
    label = (np.arange(count) % 3 * (classes - 1) // 2).astype(np.int64)
    position = np.column_stack([rng.uniform(-1.5, 1.5, (count, 2)), np.full(count, 0.06)])
    position[label == classes - 1] = np.nan
    return label, position
