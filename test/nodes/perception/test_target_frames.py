# SPDX-License-Identifier: Apache-2.0
"""Frames of the outputs and the transform of the target."""

from __future__ import annotations

import numpy as np
import pytest

from admn_ros.deployment import DeploymentConfig
from admn_ros.errors import ConfigError
from admn_ros.inference.tracking import Outcome, TrackState
from admn_ros.nodes import qos
from admn_ros.nodes.perception.target_frames import check_frames, target_transform, transform_class
from admn_ros.nodes.perception.view_messages import odometry_message
from admn_ros.sample import Modality

NAMES = {"output_frame": "", "target_frame": "target", "publish_tf": False}
CONFIGURE = 1


@pytest.mark.parametrize(("change", "says"), [
    ({"output_frame": "/map"}, "output_frame: found '/map'; allowed: the name of a TF frame, without a leading slash"),
    ({"target_frame": ""}, "target_frame: found ''"),
    ({"target_frame": "car "}, "target_frame: found 'car '"),
    ({"target_frame": "map"}, "target_frame: found map; allowed: another frame"),
    ({"target_frame": "room", "output_frame": "room"}, "target_frame: found room; allowed: another frame")])
def test_names_that_cannot_be_are_refused(change, says):
    check_frames(NAMES, "map")
    with pytest.raises(ConfigError, match=says):
        check_frames({**NAMES, **change}, "map")


def test_a_frame_of_a_sensor_node_is_no_target():
    frames = {"left": {"base": "left_base", "camera": "left_optical"}, "right": {"base": "right_base"}}
    deployment = DeploymentConfig.model_validate({"sensors": {n: {Modality.RGB: {"topic": f"/{n}"}} for n in frames},
                                                  "frames": frames})
    assert deployment.sensor_frames == {"left_base", "left_optical", "right_base"}
    with pytest.raises(ConfigError, match="target_frame: found left_optical; allowed: another frame than those of"):
        check_frames({**NAMES, "target_frame": "left_optical"}, "map", deployment.sensor_frames)


def test_the_transform_is_that_of_the_odometry():
    track = TrackState(5_000_000_007, np.array([1.0, 2.0]), np.zeros(2), np.eye(4), Outcome.UPDATED)
    message = target_transform(odometry_message(track, "room", "car", 0.25, 0.01), "car")
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (5, 7)
    assert (message.header.frame_id, message.child_frame_id) == ("room", "car")
    moved, turn = message.transform.translation, message.transform.rotation
    assert (moved.x, moved.y, moved.z) == (1.0, 2.0, 0.25)
    assert (turn.x, turn.y, turn.z, turn.w) == (0.0, 0.0, 0.0, 1.0)


def test_the_transform_needs_tf2_msgs(make_rig, model_folder, sensors_file, capfd):
    if transform_class() is not None:
        pytest.skip("tf2_msgs is installed here")
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), publish_tf=True)
    assert not rig.transition(CONFIGURE)
    log = capfd.readouterr().err
    assert "publish_tf: found true, but there is no tf2_msgs/TFMessage; allowed: false, or" in log


def test_the_transform_is_published_while_there_is_a_target(make_rig, model_folder, sensors_file):
    kind = transform_class()
    if kind is None:
        pytest.skip("tf2_msgs is not installed")
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), publish_tf=True, tracking=False, autostart=True,
                   output_frame="room", target_frame="car")
    transforms: list[object] = []
    rig.driver.create_subscription(kind, "/tf", lambda message: transforms.extend(message.transforms),
                                   qos.TRANSFORMS_IN)
    assert rig.connected() and rig.wait(lambda: rig.node.count_subscribers("/tf"))
    rig.frame()
    assert rig.wait(lambda: transforms and rig.poses)
    assert transforms[-1].header == rig.poses[-1].header and transforms[-1].header.frame_id == "room"
    assert transforms[-1].child_frame_id == "car"
    assert transforms[-1].transform.translation.x == rig.poses[-1].pose.pose.position.x
