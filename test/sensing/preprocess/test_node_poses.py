# SPDX-License-Identifier: Apache-2.0
"""Poses of the sensor nodes from TF: against the simulated room, for any shape of the tree, and for invalid values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.config import ModelConfig, NodePose
from admn_ros.deployment import NodeFrames
from admn_ros.errors import ConfigError
from admn_ros.model.presets import preset
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.tf_tree import TransformTree
from admn_ros.sensing.preprocess.node_poses import NodePoses
from admn_ros.simulation.dataset import pose_of
from admn_ros.simulation.scene.scene import Scene

NODES = Scene.seeded(1, viewpoints="train").nodes
NOT_TURNED = (0.0, 0.0, 0.0, 1.0)
FRAMES = {name: NodeFrames(base=f"{name}_base", camera=f"{name}_rgb_optical") for name in ("node1", "node3")}


@pytest.fixture
def model() -> ModelConfig:
    return preset("gdtm-room")


def message(*transforms: make.Transform) -> object:
    return make.static_transforms(transforms, 10**9)


def room() -> list[make.Transform]:
    """The transforms of three simulated sensor nodes."""
    made = []
    for node in NODES:
        for parent, child, pose in [("map", f"{node.name}_base", node.base)] + [
                (f"{node.name}_base", f"{node.name}_{suffix}", pose) for suffix, pose in node.sensors.items()]:
            x, y, z = pose.translation_m.tolist()
            made.append(make.Transform(parent, child, (x, y, z), make.quaternion_of(pose.rotation)))
    return made


def test_nodes_with_tf_frames_have_the_simulated_poses_and_others_those_of_the_model(model: ModelConfig) -> None:
    nodes = NodePoses(model, FRAMES)
    assert nodes.poses == model.node_poses
    assert nodes.missing == {node: f"no transform from map to {node}_base, {node}_rgb_optical" for node in FRAMES}
    assert nodes.add(message(*(t for t in room() if not t.child.endswith("optical")))) == []
    assert nodes.missing == {node: f"no transform from map to {node}_rgb_optical" for node in FRAMES}
    assert nodes.add(message(*room())) == ["node1", "node3"]
    for node in NODES:
        expected = pose_of(node) if node.name in FRAMES else model.node_poses[node.name]
        np.testing.assert_allclose(nodes.poses[node.name].numbers, expected.numbers, atol=1e-6)
    np.testing.assert_allclose(nodes.tensor.numpy(), [p.numbers for p in nodes.poses.values()], rtol=1e-6)
    assert nodes.tensor.shape == (3, 5)
    assert nodes.missing == {}
    assert nodes.add(message(*room())) == [], "nothing moved"
    assert nodes.add(message(make.Transform("map", "arm", (1.0, 2.0, 3.0), NOT_TURNED))) == []
    assert nodes.add(message(make.Transform("node3_base", "arm", (1.0, 2.0, 3.0), NOT_TURNED))) == []
    assert nodes.add(message(make.Transform("map", "node3_base", (1.0, 2.0, 3.0), NOT_TURNED))) == ["node3"]
    assert nodes.poses["node3"].x_m == 1.0


def test_transforms_may_come_one_by_one_and_the_map_may_have_a_parent(model: ModelConfig) -> None:
    # world above map, a slash in front as ROS 1 wrote it, the camera's transform last.
    nodes = NodePoses(model, FRAMES)
    assert nodes.add(message(make.Transform("/world", "/map", (1.0, 2.0, 0.0), NOT_TURNED))) == []
    assert nodes.add(message(make.Transform("world", "node1_base", (4.0, 4.0, 0.5), NOT_TURNED))) == []
    optical = make.quaternion_of(np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], np.float64))
    assert nodes.add(message(make.Transform("node1_base", "node1_rgb_optical", (0, 0, 0), optical))) == ["node1"]
    np.testing.assert_allclose(nodes.poses["node1"].numbers, [3.0, 2.0, 0.5, 0.0, 0.0], atol=1e-9)


@settings(deadline=None)
@given(st.floats(-3, 3), st.floats(-1.4, 1.4), st.floats(-5, 5))
def test_yaw_and_tilt_of_a_frame_come_back(yaw: float, tilt: float, x: float) -> None:
    # About z by the yaw, then about y by the tilt: x looks down.
    quaternion = (-math.sin(yaw / 2) * math.sin(tilt / 2), math.cos(yaw / 2) * math.sin(tilt / 2),
                  math.sin(yaw / 2) * math.cos(tilt / 2), math.cos(yaw / 2) * math.cos(tilt / 2))
    nodes = NodePoses(preset("gdtm-room"), {"node2": NodeFrames(base="stand")})
    nodes.add(message(make.Transform("map", "stand", (x, 1.0, 2.0), quaternion)))
    np.testing.assert_allclose(nodes.poses["node2"].numbers, [x, 1.0, 2.0, yaw, tilt], atol=1e-6)


def test_invalid_transforms_move_no_node(model: ModelConfig) -> None:
    nodes = NodePoses(model, FRAMES)
    good = message(*room())
    for each, value in zip(good.transforms[:4], (math.nan, math.inf, math.nan, math.inf), strict=True):
        each.transform.translation.x = value
    zero = message(make.Transform("map", "node3_base", (1.0, 1.0, 1.0), NOT_TURNED))
    zero.transforms[0].transform.rotation.w = 0.0
    loop = message(make.Transform("a", "b", (0.0,) * 3, NOT_TURNED), make.Transform("b", "a", (0.0,) * 3, NOT_TURNED),
                   make.Transform("a", "a", (0.0,) * 3, NOT_TURNED))
    assert nodes.add(zero) == [] and nodes.add(loop) == []
    assert nodes.add(good) == ["node3"], "of node1 the base is not finite"
    tree = TransformTree()
    tree.add(loop)
    assert tree.newest("a", "map") is None and tree.newest("b", "a") is not None


def test_frames_that_cannot_be_used_are_refused(model: ModelConfig) -> None:
    with pytest.raises(ConfigError, match=r"frames: found attic; allowed: .*node1, node2, node3"):
        NodePoses(model, {"attic": NodeFrames(base="attic")})
    with pytest.raises(ConfigError, match="does not use poses"):
        NodePoses(preset("gdtm-tiny"), FRAMES)
    assert NodePose(x_m=0, y_m=0).numbers == (0, 0, 0, 0, 0)
