# SPDX-License-Identifier: Apache-2.0
"""Messages for viewers and downstream nodes: odometry, markers, images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Quaternion, Vector3
from nav_msgs.msg import Odometry
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from admn_ros.config import ModelConfig, NodePose
from admn_ros.inference.ellipse import ellipse_limit
from admn_ros.inference.engine import Estimate
from admn_ros.inference.tracking import TrackState
from admn_ros.nodes.conversions import UNKNOWN_ANGLE_VARIANCE, header
from admn_ros.views.debug_map import SHARE

UNKNOWN_RATE_VARIANCE = 1e6
"""Variance of an unknown angular velocity, in (rad/s)^2, or of an unknown velocity, in (m/s)^2."""
IN_PLANE_VARIANCE = 1e-6
"""Variance of the velocity normal to the plane that the target moves in, in (m/s)^2."""
THINNEST_M = 0.01
SHOWN_FOR = Duration(sec=1)
WHITE, VIOLET, BLUE = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0), ColorRGBA(r=0.7, g=0.5, b=1.0, a=0.35), ColorRGBA(
    r=0.35, g=0.6, b=0.9, a=1.0)
ELLIPSE = ColorRGBA(r=0.2, g=0.85, b=0.6, a=0.35)


def odometry_message(track: TrackState, frame_id: str, child_frame_id: str, plane_z_m: float,
                     plane_variance_m2: float) -> Odometry:
    """Return position and velocity of the target.

    Orientation is not estimated and set to the identity: the child frame is at the target, with the axes of the frame
    of the header, and the twist is the same in both. Unknown quantities have a very large variance.

    Args:
        track: tracked target.
        frame_id: frame of the estimates.
        child_frame_id: frame of the target.
        plane_z_m: height of a track in the plane, in metres.
        plane_variance_m2: variance of that height, in m^2.
    """
    message = Odometry(header=header(track.stamp_ns, frame_id), child_frame_id=child_frame_id)
    axes, position, linear = track.axes, message.pose.pose.position, message.twist.twist.linear
    place, speed = [0.0, 0.0, plane_z_m], [0.0, 0.0, 0.0]
    place[:axes], speed[:axes] = track.position_m.tolist(), track.velocity_mps.tolist()
    position.x, position.y, position.z = place
    linear.x, linear.y, linear.z = speed
    pose = np.diag([plane_variance_m2] * 3 + [UNKNOWN_ANGLE_VARIANCE] * 3)
    twist = np.diag([UNKNOWN_RATE_VARIANCE] * 6)
    pose[:axes, :axes], twist[:axes, :axes] = track.position_covariance_m2, track.velocity_covariance
    if axes == 2:
        twist[2, 2] = IN_PLANE_VARIANCE
    message.pose.covariance, message.twist.covariance = pose.ravel().tolist(), twist.ravel().tolist()
    return message


def image_message(pixels: npt.NDArray[np.uint8], stamp_ns: int, frame_id: str) -> Image:
    """Return an rgb8 image message of pixels (H, W, 3)."""
    height, width = pixels.shape[:2]
    message = Image(header=header(stamp_ns, frame_id), height=height, width=width, encoding="rgb8", step=3 * width)
    message.data.frombytes(np.ascontiguousarray(pixels))
    return message


def target_markers(estimate: Estimate, axes: int) -> MarkerArray:
    """Return the 90 % confidence ellipsoid of an estimate, and its class as text.

    Without a target both are deleted.

    Args:
        estimate: estimate of a frame.
        axes: dimensions of the estimated position, 2 or 3.
    """
    ellipsoid, label = (Marker(header=header(estimate.stamp_ns, estimate.frame_id), ns=ns, lifetime=SHOWN_FOR)
                        for ns in ("estimate", "class"))
    if estimate.mean_m is None or estimate.covariance_m2 is None or estimate.scores is None:
        ellipsoid.action = label.action = Marker.DELETE
        return MarkerArray(markers=[ellipsoid, label])
    x, y, z = map(float, estimate.mean_m)
    variances, turn = np.linalg.eigh(estimate.covariance_m2)
    reach = np.maximum(2 * np.sqrt(np.maximum(variances, 0.0) * ellipse_limit(SHARE, axes)), THINNEST_M)
    ellipsoid.type, ellipsoid.color = Marker.SPHERE, ELLIPSE
    ellipsoid.pose.position = Point(x=x, y=y, z=z)
    ellipsoid.pose.orientation = quaternion(turn * np.sign(np.linalg.det(turn)))
    ellipsoid.scale = Vector3(**dict(zip("xyz", reach.tolist(), strict=True)))
    best = int(estimate.scores.argmax())
    label.type, label.color, label.scale.z = Marker.TEXT_VIEW_FACING, WHITE, 0.14
    label.pose.position = Point(x=x, y=y, z=z + 0.3)
    label.text = f"{estimate.labels[best]} {estimate.scores[best]:.2f}"
    return MarkerArray(markers=[ellipsoid, label])


def sensor_node_markers(config: ModelConfig, stamp_ns: int) -> MarkerArray:
    """Return an arrow along the x axis of each sensor node (forward, REP-103) and its name; empty without poses."""
    markers = []
    for number, (name, pose) in enumerate(config.node_poses.items()):
        arrow, label = (Marker(header=header(stamp_ns, config.frame_id), ns=ns, id=number)
                        for ns in ("sensor_nodes", "sensor_node_names"))
        arrow.type, arrow.color, arrow.scale = Marker.ARROW, BLUE, Vector3(x=0.35, y=0.06, z=0.06)
        arrow.pose.position = Point(x=pose.x_m, y=pose.y_m, z=pose.z_m)
        arrow.pose.orientation = quaternion(_attitude(pose))
        label.type, label.color, label.scale.z, label.text = Marker.TEXT_VIEW_FACING, WHITE, 0.12, name
        label.pose.position = Point(x=pose.x_m, y=pose.y_m, z=pose.z_m + 0.2)
        markers += [arrow, label]
    return MarkerArray(markers=markers)


def _attitude(pose: NodePose) -> npt.NDArray[np.float64]:
    """Return the rotation by yaw about z, then by tilt about the rotated y axis."""
    matrix: npt.NDArray[np.float64] = Rotation.from_euler("ZY", [pose.yaw_rad, pose.tilt_rad]).as_matrix()
    return matrix


def quaternion(turn: npt.NDArray[np.float64]) -> Quaternion:
    """Return the quaternion of a rotation matrix (3, 3)."""
    x, y, z, w = Rotation.from_matrix(turn).as_quat().tolist()
    return Quaternion(w=w, x=x, y=y, z=z)
