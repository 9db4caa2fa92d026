# SPDX-License-Identifier: Apache-2.0
"""A dataset whose stated poses are wrong, as after a sensor node was pushed: for tests of what that costs."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from admn_ros.config import NodePose
from admn_ros.datasets.source import LabeledReadings, SampleSource, SourceView, recording_of
from admn_ros.errors import InputError

MOVED_M = 0.10
"""Horizontal distance between stated and true place of a node, in metres."""
TURNED_RAD = math.radians(5)
"""Angle between stated and true yaw of a node, in radians."""


class Misplaced(SourceView):
    """Samples of a source with wrong poses: each node by `MOVED_M` in a random direction, and `TURNED_RAD` in yaw.

    Readings and targets are those of the source. The error of a node is the same in all samples of a recording, and
    depends on the names of both alone.

    Attributes:
        classes: names of the classes, if the source has them.
    """

    def __init__(self, source: SampleSource) -> None:
        super().__init__(source)
        classes = getattr(source, "classes", None)
        if classes is not None:
            self.classes: list[str] = classes

    def view(self, sample: LabeledReadings, index: int) -> LabeledReadings:
        """Return a sample with wrong poses.

        Raises:
            InputError: the sample has no poses.
        """
        if sample.poses is None:
            raise InputError.missing("poses", "the pose of each sensor node, for a dataset whose nodes are misplaced")
        return replace(sample, poses=_moved(sample.poses, recording_of(self.source, self.origin(index)) or ""))


def _moved(poses: Mapping[str, NodePose], recording: str) -> dict[str, NodePose]:
    found = {}
    for node, pose in poses.items():
        rng = np.random.default_rng(zlib.crc32(f"{recording}/{node}".encode()))
        way, turn = rng.uniform(0, 2 * math.pi), rng.choice([-TURNED_RAD, TURNED_RAD])
        found[node] = pose.model_copy(update={
            "x_m": pose.x_m + MOVED_M * math.cos(way), "y_m": pose.y_m + MOVED_M * math.sin(way),
            "yaw_rad": pose.yaw_rad + float(turn)})
    return found
