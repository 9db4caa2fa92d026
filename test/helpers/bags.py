# SPDX-License-Identifier: Apache-2.0
"""Micro recordings of two sensor nodes and a target that moves on a circle, for `helpers.models.room`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_writer import BagWriter
from helpers.datasets import POSES

START_NS = 1_700_000_000_000_000_000
NOT_TURNED = (0.0, 0.0, 0.0, 1.0)
QUARTER = (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5))
SENSORS = {node: {"rgb": {"topic": f"/{node}/rgb"}, "depth": {"topic": f"/{node}/depth"},
                  "audio": {"topic": f"/{node}/audio"}} for node in POSES}


def where(t_s: float) -> tuple[float, float]:
    """Return the position (x, y) of the target in metres."""
    return math.cos(2 * t_s), math.sin(2 * t_s)


def small_bag(path: Path, storage: str = "mcap", count: int = 20, *, first: int = 0) -> Path:
    """Write a bag of poses, one per nanosecond, with their number as x."""
    with BagWriter(path, storage) as bag:
        for i in range(first, first + count):
            bag.write("/pose", make.POSE, make.pose_stamped((i, 0, 0), QUARTER, START_NS + i, "map"), START_NS + i)
    return path


def make_bag(path: Path, *, storage: str = "mcap", ticks: int = 24, truth: str | None = "map", tf: bool = False,
             offset_s: float = 0.0, shuffle: bool = False, extras: bool = False, compress: bool = False) -> Path:
    """Write a bag at 15 Hz.

    Args:
        path: bag to write.
        storage: mcap or sqlite3.
        ticks: number of messages per sensor.
        truth: frame of the poses on /ground_truth/pose; None for no poses.
        tf: write the TF frame `car` too, below `mocap`.
        offset_s: offset of the ground truth's stamps in seconds.
        shuffle: exchange the header stamps of neighbouring messages.
        extras: write budgets and temperatures too.
        compress: compress chunks.
    """
    rng = np.random.default_rng(1)
    stamps = [START_NS + round(k / 15 * 1e9) for k in range(ticks)]
    header_stamps = [stamps[k ^ 1] if shuffle and (k ^ 1) < ticks else stamps[k] for k in range(ticks)]
    with BagWriter(path, storage, compress=compress) as bag:
        if tf:
            shift = make.Transform("map", "mocap", (1.0, 0.0, 0.0), NOT_TURNED)
            bag.write("/tf_static", make.TF, make.static_transforms([shift], START_NS), START_NS)
        for k, (stamp, header_ns) in enumerate(zip(stamps, header_stamps, strict=True)):
            for node in POSES:
                rgb = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
                depth = rng.uniform(0.5, 6, (24, 24)).astype(np.float32)
                sound = rng.normal(0, 0.1, (1066, 2)).astype(np.float32)
                bag.write(f"/{node}/rgb", make.IMAGE, make.rgb_image(rgb, header_ns, node), stamp + 3_000_000)
                bag.write(f"/{node}/depth", make.IMAGE, make.depth_image(depth, header_ns, node), stamp + 4_000_000)
                bag.write(f"/{node}/audio", make.AUDIO_FRAME, make.audio_frame(sound, 16000, header_ns, node),
                          stamp + 5_000_000)
            _write_truth(bag, stamp, truth, tf, offset_s)
            if extras and k % 6 == 0:
                bag.write("/admn/budget", make.COMPUTE_BUDGET,
                          make.compute_budget(2 + k // 6, "layers", stamp, source="robot"), stamp)
                bag.write("/temperature", make.TEMPERATURE, make.temperature(60.0 + k, stamp, "soc"), stamp)
    return path


def _write_truth(bag: BagWriter, stamp: int, truth: str | None, tf: bool, offset_s: float) -> None:
    x, y = where((stamp - START_NS) * 1e-9)
    truth_ns = stamp + round(offset_s * 1e9)
    if truth is not None:
        bag.write("/ground_truth/pose", make.POSE, make.pose_stamped((x, y, 0.1), NOT_TURNED, truth_ns, truth), stamp)
    if tf:
        car = make.Transform("mocap", "car", (x - 1.0, y, 0.1), NOT_TURNED)
        bag.write("/tf", make.TF, make.static_transforms([car], truth_ns), stamp)
