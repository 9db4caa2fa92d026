# SPDX-License-Identifier: Apache-2.0
"""Odometry, debug picture and markers over real DDS; and their messages by themselves."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from geometry_msgs.msg import Quaternion
from hypothesis import given, settings
from hypothesis import strategies as st
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from visualization_msgs.msg import Marker, MarkerArray

from admn_ros.config import NodePose
from admn_ros.inference.tracking import Outcome, TrackState
from admn_ros.model.presets import preset
from admn_ros.nodes.conversions import UNKNOWN_ANGLE_VARIANCE
from admn_ros.nodes.perception.view_messages import odometry_message, quaternion, sensor_node_markers
from admn_ros.views.debug_picture import HEIGHT, WIDTH, DebugPicture

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def stamp_of(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def turned(q: Quaternion) -> np.ndarray:
    """Rotation matrix of a quaternion."""
    w, x, y, z = q.w, q.x, q.y, q.z
    return np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                     [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                     [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]])


@given(st.lists(st.floats(-3.2, 3.2), min_size=3, max_size=3))
@settings(max_examples=100, deadline=None)
def test_a_quaternion_turns_as_its_matrix(angles):
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [k for k in range(3) if k != axis]
        one = np.eye(3)
        one[a, a] = one[b, b] = math.cos(angle)
        one[a, b], one[b, a] = -math.sin(angle), math.sin(angle)
        turn = turn @ one
    found = quaternion(turn)
    assert math.hypot(found.w, found.x, found.y, found.z) == pytest.approx(1.0)
    assert turned(found) == pytest.approx(turn, abs=1e-9)


@pytest.mark.parametrize("axes", [2, 3])
def test_odometry_of_a_track(axes):
    covariance = np.diag(np.arange(1.0, 2 * axes + 1)) + 0.1
    track = TrackState(5_000_000_007, np.arange(1.0, axes + 1), -np.arange(1.0, axes + 1), covariance, Outcome.UPDATED)
    message = odometry_message(track, "map", "target", 0.25, 0.0001)
    assert stamp_of(message) == 5_000_000_007
    assert (message.header.frame_id, message.child_frame_id) == ("map", "target")
    position, linear, turn = message.pose.pose.position, message.twist.twist.linear, message.pose.pose.orientation
    assert (position.x, position.y, position.z) == (1.0, 2.0, 3.0 if axes == 3 else 0.25)
    assert (linear.x, linear.y, linear.z) == (-1.0, -2.0, -3.0 if axes == 3 else 0.0)
    assert (turn.w, turn.x, turn.y, turn.z) == (1.0, 0.0, 0.0, 0.0), "the child frame has the parent's axes"
    pose, twist = (np.array(m.covariance).reshape(6, 6) for m in (message.pose, message.twist))
    assert np.array_equal(pose[:axes, :axes], covariance[:axes, :axes])
    assert np.array_equal(twist[:axes, :axes], covariance[axes:, axes:])
    assert pose[5, 5] == pytest.approx(UNKNOWN_ANGLE_VARIANCE) and twist[5, 5] >= 1e6
    assert (np.linalg.eigvalsh(pose) > 0).all() and (np.linalg.eigvalsh(twist) > 0).all()


def test_arrows_of_sensor_nodes_point_where_they_look():
    config = preset("gdtm-room")
    config = config.model_copy(update={"node_poses": {
        **config.node_poses, "node1": NodePose(x_m=1.0, y_m=2.0, z_m=0.5, yaw_rad=math.pi / 2, tilt_rad=0.3)}})
    markers = sensor_node_markers(config, 7).markers
    arrow = next(m for m in markers if m.type == Marker.ARROW)
    assert (arrow.pose.position.x, arrow.pose.position.y, arrow.pose.position.z) == (1.0, 2.0, 0.5)
    ahead = turned(arrow.pose.orientation) @ [1.0, 0.0, 0.0]
    assert ahead == pytest.approx([0.0, math.cos(0.3), -math.sin(0.3)], abs=1e-9), "to the left (REP-103), and down"
    assert {m.text for m in markers if m.type == Marker.TEXT_VIEW_FACING} == set(config.sensor_nodes)
    assert not sensor_node_markers(preset("gdtm-tiny"), 7).markers, "without poses there is nothing to show"


@pytest.fixture
def rig(make_rig, model_folder, sensors_file):
    """An active node on a model with random weights."""
    made = make_rig(model=str(model_folder), sensors=str(sensors_file), autostart=True)
    assert made.connected()
    return made


@pytest.fixture
def seen(rig):
    """What arrives on the topics for viewers, and an active rig."""
    stores = {"odometry": [], "debug_image": [], "markers": []}
    kinds = {"odometry": Odometry, "debug_image": Image, "markers": MarkerArray}
    subscriptions = {name: rig.driver.create_subscription(kind, f"/admn/{name}", stores[name].append, 5)
                     for name, kind in kinds.items()}
    assert rig.wait(lambda: all(rig.node.count_subscribers(f"/admn/{name}") for name in kinds))
    stores["subscriptions"] = subscriptions
    return stores


def test_every_frame_with_a_pose_has_a_track_and_markers(rig, seen):
    frames = [rig.frame() for _ in range(4)]
    last_ns = stamp_of(frames[-1])
    assert rig.wait(lambda: seen["odometry"] and stamp_of(seen["odometry"][-1]) == last_ns)
    assert rig.wait(lambda: seen["markers"] and stamp_of(seen["markers"][-1].markers[0]) == last_ns)
    assert rig.wait(lambda: rig.poses and stamp_of(rig.poses[-1]) == last_ns)
    odometry = seen["odometry"][-1]
    assert odometry.header.frame_id == "map" and odometry.child_frame_id == "target"
    stamps = [stamp_of(m) for m in seen["odometry"]]
    assert stamps == sorted(set(stamps))
    ellipsoid, label = seen["markers"][-1].markers
    assert ellipsoid.pose.position == rig.poses[-1].pose.pose.position
    covariance = np.array(rig.poses[-1].pose.covariance).reshape(6, 6)[:3, :3]
    turn, scale = turned(ellipsoid.pose.orientation), ellipsoid.scale
    spread = turn @ np.diag(np.square([scale.x, scale.y, scale.z])) @ turn.T / (4 * -2 * math.log(0.1))
    assert spread[:2, :2] == pytest.approx(covariance[:2, :2], rel=1e-6)
    assert label.text.split()[0] in ("car", "none")


def test_below_the_floor_the_markers_go_away_and_the_track_goes_on(rig, seen):
    rig.frame()
    rig.frame()
    rig.budget(0.5)
    assert rig.in_force(0.5)
    allocation = rig.frame()
    assert rig.wait(lambda: seen["odometry"] and stamp_of(seen["odometry"][-1]) == stamp_of(allocation)), "it predicts"
    assert rig.wait(lambda: seen["markers"] and all(m.action == Marker.DELETE for m in seen["markers"][-1].markers))


def test_without_a_target_there_is_a_class_but_neither_pose_nor_marker_nor_update_of_the_track(rig, seen):
    rig.frame()
    rig.frame()
    assert rig.wait(lambda: len(rig.poses) == 2 and len(seen["odometry"]) == 2)
    known = np.array(seen["odometry"][-1].pose.covariance).reshape(6, 6)[0, 0]
    assert rig.node.set_parameters([Parameter("no_target_above", value=0.01)])[0].successful
    allocation = rig.frame()
    assert allocation.spent > 0
    assert rig.wait(lambda: rig.classes and stamp_of(rig.classes[-1]) == stamp_of(allocation))
    assert rig.wait(lambda: seen["markers"] and stamp_of(seen["markers"][-1].markers[0]) == stamp_of(allocation))
    assert all(m.action == Marker.DELETE for m in seen["markers"][-1].markers)
    assert rig.wait(lambda: stamp_of(seen["odometry"][-1]) == stamp_of(allocation)), "the track is predicted"
    assert np.array(seen["odometry"][-1].pose.covariance).reshape(6, 6)[0, 0] > known
    assert len(rig.poses) == 2


def test_the_debug_image_is_drawn_off_the_threads_that_work_and_only_while_somebody_listens(rig, seen, monkeypatch):
    threads = []
    draw = DebugPicture.draw
    monkeypatch.setattr(DebugPicture, "draw", lambda picture, view: threads.append(
        threading.current_thread().name) or draw(picture, view))
    allocation = rig.frame()
    assert rig.wait(lambda: seen["debug_image"] or not rig.frame())
    image = seen["debug_image"][-1]
    assert (image.height, image.width, image.encoding, image.step) == (HEIGHT, WIDTH, "rgb8", 3 * WIDTH)
    assert stamp_of(image) >= stamp_of(allocation) and len(image.data) == 3 * WIDTH * HEIGHT
    assert np.frombuffer(image.data, np.uint8).std() > 10
    assert set(threads) == {"debug picture"}
    rig.call_soon(rig.driver.destroy_subscription, seen["subscriptions"]["debug_image"])

    def undrawn() -> bool:
        threads.clear()
        for _ in range(3):
            rig.frame()
        return not threads

    assert rig.wait(undrawn)


def test_the_debug_images_rate_is_bounded(rig, seen):
    assert rig.node.set_parameters([Parameter("debug_image_rate_hz", value=0.1)])[0].successful
    assert rig.wait(lambda: seen["debug_image"] or not rig.frame())
    for _ in range(5):
        rig.frame()
    assert len(seen["debug_image"]) == 1, "one in ten seconds"


def test_where_the_sensor_nodes_are_is_kept_for_late_joiners(rig):
    rig.frame()
    late: list[MarkerArray] = []
    rig.driver.create_subscription(MarkerArray, "/admn/sensor_nodes", late.append, LATCHED)
    assert rig.wait(lambda: late)


def test_without_tracking_there_is_no_odometry_topic(make_rig, model_folder, sensors_file):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), autostart=True, tracking=False)
    assert rig.connected()
    rig.frame()
    assert rig.driver.count_publishers("/admn/odometry") == 0
    assert rig.driver.count_publishers("/admn/markers") == 1
