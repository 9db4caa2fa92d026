# SPDX-License-Identifier: Apache-2.0
"""~/detections, with the real package `vision_msgs` where it is installed."""

from __future__ import annotations

import pytest
from rclpy.parameter import Parameter

from admn_ros.nodes.perception.detections import vision_messages


def test_detections_have_the_pose_and_classes_of_the_frame(rig):
    kinds = vision_messages()
    if kinds is None:
        rig.frame()
        assert rig.driver.count_publishers("/admn/detections") == 0
        pytest.skip("vision_msgs is not installed")
    found: list[object] = []
    rig.driver.create_subscription(kinds.Detection3DArray, "/admn/detections", found.append, 10)
    assert rig.wait(lambda: rig.node.count_subscribers("/admn/detections"))
    rig.frame()
    assert rig.wait(lambda: found and rig.poses and rig.classes)
    array, pose, classes = found[-1], rig.poses[-1], rig.classes[-1]
    assert array.header == pose.header
    (detection,) = array.detections
    assert detection.header == pose.header and detection.bbox.center == pose.pose.pose
    assert [r.hypothesis.class_id for r in detection.results] == ["car"], "none is no object"
    assert detection.results[0].pose == pose.pose
    assert detection.results[0].hypothesis.score == pytest.approx(classes.scores[0])
    assert rig.node.set_parameters([Parameter("no_target_above", value=0.01)])[0].successful
    rig.frame()
    assert rig.wait(lambda: len(found) == 2)
    assert not found[-1].detections and found[-1].header.frame_id == "map"
    rig.budget(0.5)
    assert rig.in_force(0.5)
    rig.frame()
    rig.budget(8.0)
    assert rig.in_force(8.0)
    rig.frame()
    assert rig.wait(lambda: len(found) == 3), "nothing ran in the third frame"
