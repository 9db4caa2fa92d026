# SPDX-License-Identifier: Apache-2.0
"""A dataset of several sensor nodes, seen from one at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from admn_ros.config import NodePose
from admn_ros.datasets.source import LabeledReadings
from admn_ros.datasets.viewpoints import Viewpoints
from admn_ros.errors import InputError
from admn_ros.model.presets import preset
from admn_ros.sample import Modality, SensorKey, Target

POSES = {node: NodePose(x_m=float(i), y_m=-1.0, yaw_rad=0.5) for i, node in enumerate(("node1", "node2"))}


class Pair:
    """Two pictures of three moments, one for each node; the second node saw nothing in the last."""

    def __init__(self, poses: dict[str, NodePose] | None = None) -> None:
        self._poses = poses

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> LabeledReadings:
        readings = {SensorKey(node, Modality.RGB): np.full((24, 32, 3), 10 * index + i, np.uint8)
                    for i, node in enumerate(POSES) if (index, i) != (2, 1)}
        return LabeledReadings(readings, Target((float(index), 0.0, 0.0), 1), index, poses=self._poses)


def test_each_node_stands_in_for_the_only_one() -> None:
    views = Viewpoints(Pair(POSES), ["node2", "node1"], "node1")
    assert len(views) == 6
    only = SensorKey("node1", Modality.RGB)
    for index, (moment, node) in enumerate([(0, 1), (1, 1), (2, 1), (0, 0), (1, 0), (2, 0)]):
        seen = views[index]
        assert seen.target.position_m[0] == seen.stamp_ns == moment
        assert seen.poses == {"node1": POSES[f"node{node + 1}"]}
        if index == 2:
            assert not seen.readings
        else:
            assert list(seen.readings) == [only]
            assert (seen.readings[only] == 10 * moment + node).all()
    pose = views[0].sample(preset("table")).poses
    assert pose is not None
    assert torch.equal(pose, torch.tensor([POSES["node2"].numbers]))
    with pytest.raises(IndexError):
        views[6]


def test_a_view_needs_a_pose() -> None:
    with pytest.raises(InputError, match=r"viewpoints: found node1; allowed: .*none has one"):
        Viewpoints(Pair(), ["node1"], "node1")[0]
    with pytest.raises(InputError, match=r"viewpoints: found node7; allowed: .*node1, node2"):
        Viewpoints(Pair(POSES), ["node7"], "node1")[0]
