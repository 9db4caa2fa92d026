# SPDX-License-Identifier: Apache-2.0
"""Subscriptions to camera calibrations."""

from __future__ import annotations

from collections import defaultdict

from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo

from admn_ros.inference.frame_stream import FrameStream
from admn_ros.inference.seen_causes import SeenCauses
from admn_ros.nodes import qos
from admn_ros.nodes.endpoints import Endpoints
from admn_ros.sensing.preprocess.camera_calibration import CameraCalibration


class CameraInputs:
    """Subscriptions to the `CameraInfo` of a frame stream's cameras. Cameras that share a topic share a subscription.

    A topic that the deployment file does not name is `camera_info` beside the image topic, after remapping, and can
    be remapped itself.

    Args:
        node: node whose log is written to.
        endpoints: endpoints of the node.
        frames: frame stream with the cameras.

    Raises:
        Exception: rclpy could not create a subscription; none is left.
    """

    def __init__(self, node: Node, endpoints: Endpoints, frames: FrameStream) -> None:
        self._node, self._endpoints, self._frames = node, endpoints, frames
        self._subscriptions: list[Subscription] = []
        self._logged = SeenCauses()
        shared: dict[str, list[CameraCalibration]] = defaultdict(list)
        for key, camera in frames.cameras.items():
            entry = frames.inputs[key]
            shared[entry.info_topic(key.modality, node.resolve_topic_name(entry.topic))].append(camera)
        try:
            for topic, cameras in shared.items():
                self._subscribe(topic, cameras)
        except Exception:
            self.close()
            raise

    def check(self) -> None:
        """Log new problems of the calibrations. Call it periodically."""
        for key, camera in self._frames.cameras.items():
            if camera.problem and self._logged.is_new(f"{key}: {camera.problem}"):
                self._node.get_logger().warning(f"{key}: {camera.problem}")

    def close(self) -> None:
        """Remove the subscriptions."""
        while self._subscriptions:
            self._endpoints.destroy(self._subscriptions.pop())

    def _subscribe(self, topic: str, cameras: list[CameraCalibration]) -> None:
        def receive(message: CameraInfo) -> None:
            for camera in cameras:
                camera.on_message(message)

        made = self._endpoints.create_subscription(CameraInfo, topic, receive, qos.SENSOR_IN,
                                                   latched=qos.LATCHED_STATE_IN)
        self._subscriptions.append(made)
        for camera in cameras:
            camera.topic = made.topic_name
