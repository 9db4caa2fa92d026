# SPDX-License-Identifier: Apache-2.0
"""Topics besides the results: track, debug picture, markers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping

from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image
from visualization_msgs.msg import MarkerArray

from admn_ros.config import NodePose
from admn_ros.inference.engine import Estimate
from admn_ros.inference.latest_only_queue import LatestOnlyQueue
from admn_ros.inference.pipeline import Pipeline
from admn_ros.inference.tracking import Tracker, TrackerConfig, TrackState
from admn_ros.nodes import qos
from admn_ros.nodes.conversions import pose_message
from admn_ros.nodes.managed_node import ManagedNode
from admn_ros.nodes.perception.target_frames import TargetTransforms
from admn_ros.nodes.perception.view_messages import image_message, odometry_message, sensor_node_markers, target_markers
from admn_ros.sample import SensorFrame
from admn_ros.views.debug_picture import DebugPicture, DebugView, History

NICENESS = 10
"""Niceness of the thread that draws."""


class Visualization:
    """Publishers of ~/odometry (if `tracking` is set), /tf (if `publish_tf` is), ~/debug_image, ~/markers and
    ~/sensor_nodes.

    `show` runs on the inference thread, after the results are published. The debug picture is drawn on a thread of low
    priority, from the newest frame, while it is subscribed to, and at most `debug_image_rate_hz` times a second.

    Args:
        node: node with the parameters.
        pipeline: pipeline whose frames and estimates are shown.
    """

    def __init__(self, node: ManagedNode, pipeline: Pipeline) -> None:
        self._node = node
        self._config = config = pipeline.engine.config
        self._axes = len(config.localization.min_m)
        self._picture, self._history = DebugPicture(config, list(pipeline.frames.inputs)), History()
        self._drawer: LatestOnlyQueue[DebugView] | None = None
        self._last_drawn_s = 0.0
        self._tracker = self._make_tracker() if node.value("tracking") else None
        create = node.endpoints.create_publisher
        self._odometry = create(Odometry, "~/odometry", qos.RESULT_OUT) if self._tracker else None
        self._transforms = TargetTransforms(node) if node.value("publish_tf") else None
        self._image = create(Image, "~/debug_image", qos.VIEW_OUT)
        self._markers = create(MarkerArray, "~/markers", qos.VIEW_OUT)
        self._sensor_nodes = create(MarkerArray, "~/sensor_nodes", qos.STATE, managed=False)
        self._shown_poses: dict[str, NodePose] | None = None
        self.show_nodes(config.node_poses)

    def show_nodes(self, poses: Mapping[str, NodePose]) -> None:
        """Publish the poses of the sensor nodes, if they changed."""
        if poses == self._shown_poses:
            return
        self._shown_poses = dict(poses)
        moved = self._config.model_copy(update={"node_poses": self._shown_poses})
        self._sensor_nodes.publish(sensor_node_markers(moved, self._node.get_clock().now().nanoseconds))

    def start(self) -> None:
        """Reset track and history, and start the drawing thread."""
        if self._tracker is not None:
            self._tracker.reset()
        self._history = History()
        self._drawer = LatestOnlyQueue(self._draw, self._on_error, "debug picture")

    def stop(self) -> None:
        """End the drawing thread."""
        drawer, self._drawer = self._drawer, None
        if drawer is not None:
            drawer.stop()

    def show(self, frame: SensorFrame, estimate: Estimate, latency_ms: float, dropped: int) -> None:
        """Publish the track and markers of a frame, and queue its debug picture.

        Args:
            frame: the frame.
            estimate: its estimate, without a position if the frame shows no target.
            latency_ms: time from the newest input to the result, in milliseconds.
            dropped: number of frames dropped so far.
        """
        track = self._track(estimate)
        if self._markers.get_subscription_count():
            self._markers.publish(target_markers(estimate, self._axes))
        self._history.note(estimate)
        drawer, now_s = self._drawer, time.monotonic()
        if drawer is None or not self._image.get_subscription_count():
            return
        if now_s - self._last_drawn_s >= 1.0 / self._node.value("debug_image_rate_hz"):
            self._last_drawn_s = now_s
            drawer.put(DebugView(frame, estimate, latency_ms, dropped, track, self._history.frames()))

    def _track(self, estimate: Estimate) -> TrackState | None:
        if self._tracker is None:
            if self._transforms is not None and estimate.mean_m is not None:
                self._transforms.publish(pose_message(estimate))
            return None
        _, track = self._tracker.step(estimate.stamp_ns, estimate.mean_m, estimate.covariance_m2)
        if track is not None:
            place = self._config.localization
            odometry = odometry_message(track, self._config.frame_id, self._node.value("target_frame"),
                                        place.plane_z_m, place.std_floor_m**2)
            self._odometry.publish(odometry)
            if self._transforms is not None:
                self._transforms.publish(odometry)
        return track

    def _draw(self, view: DebugView) -> None:
        _lower_priority()
        pixels = self._picture.draw(view)
        self._image.publish(image_message(pixels, view.frame.stamp_ns, self._config.frame_id))

    def _on_error(self, error: Exception) -> None:
        if self._node.context.ok():
            self._node.get_logger().error(f"debug picture: {error!r}", once=True)

    def _make_tracker(self) -> Tracker:
        value = self._node.value
        return Tracker(TrackerConfig(
            acceleration=value("tracking_acceleration"), spread=value("tracking_spread"), gate=value("tracking_gate"),
            timeout_s=value("tracking_timeout_s")), self._axes)


def _lower_priority() -> None:
    """Lower the priority of the calling thread. Only Linux has priorities per thread."""
    try:
        thread = threading.get_native_id()
        if os.getpriority(os.PRIO_PROCESS, thread) < NICENESS:
            os.setpriority(os.PRIO_PROCESS, thread, NICENESS)
    except (OSError, AttributeError):
        pass
