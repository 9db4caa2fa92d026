# SPDX-License-Identifier: Apache-2.0
"""What the perception node publishes besides its results: the track, the debug picture, markers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping

from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import Image
from visualization_msgs.msg import MarkerArray

from admn_ros.config import NodePose
from admn_ros.inference.engine import Estimate
from admn_ros.inference.latest_only_queue import LatestOnlyQueue
from admn_ros.inference.pipeline import Pipeline
from admn_ros.inference.tracking import Tracker, TrackerConfig, TrackState, shows_target
from admn_ros.nodes import qos
from admn_ros.nodes.endpoints import Endpoints
from admn_ros.nodes.perception.view_messages import image_message, odometry_message, sensor_node_markers, target_markers
from admn_ros.sample import SensorFrame
from admn_ros.views.debug_picture import DebugPicture, DebugView, History

NICENESS = 10


class Views:
    """Publishers of ~/odometry (where `tracking` is on), ~/debug_image, ~/markers and ~/sensor_nodes.

    `show` runs on the inference thread after the results are out. Of the debug picture it only hands over
    references: a thread of its own with low priority draws the newest frame, if somebody listens, at most
    `debug_image_rate_hz` times a second.

    Args:
        node: with the parameters.
        ports: make the publishers.
        pipeline: whose frames and estimates are shown.
    """

    def __init__(self, node: Node, ports: Endpoints, pipeline: Pipeline) -> None:
        self._node, self._ports = node, ports
        self._config = config = pipeline.engine.config
        self._axes = len(config.localization.min_m)
        self._picture, self._history = DebugPicture(config, list(pipeline.frames.inputs)), History()
        self._drawer: LatestOnlyQueue[DebugView] | None = None
        self._last_drawn_s = 0.0
        self._tracker = self._make_tracker() if self._value("tracking") else None
        self._odometry = ports.publish(Odometry, "~/odometry", qos.RESULT_OUT) if self._tracker else None
        self._image = ports.publish(Image, "~/debug_image", qos.VIEW_OUT)
        self._markers = ports.publish(MarkerArray, "~/markers", qos.VIEW_OUT)
        self._sensor_nodes = ports.publish(MarkerArray, "~/sensor_nodes", qos.STATE, managed=False)
        self._standing: dict[str, NodePose] | None = None
        self.stand(config.node_poses)

    def stand(self, poses: Mapping[str, NodePose]) -> None:
        """Draw the sensor nodes where they stand, if that is not what is drawn."""
        if poses == self._standing:
            return
        self._standing = dict(poses)
        moved = self._config.model_copy(update={"node_poses": self._standing})
        self._sensor_nodes.publish(sensor_node_markers(moved, self._node.get_clock().now().nanoseconds))

    def start(self) -> None:
        """Forget what was before, and be ready to draw."""
        if self._tracker is not None:
            self._tracker.reset()
        self._history = History()
        self._drawer = LatestOnlyQueue(self._draw, self._failed, "debug picture")

    def stop(self) -> None:
        """Draw no more."""
        drawer, self._drawer = self._drawer, None
        if drawer is not None:
            drawer.stop()

    def destroy(self) -> None:
        """Take the publishers off the graph."""
        self.stop()
        for publisher in (self._odometry, self._image, self._markers, self._sensor_nodes):
            if publisher is not None:
                self._ports.destroy(publisher)

    def show(self, frame: SensorFrame, estimate: Estimate, latency_ms: float, dropped: int) -> None:
        """Publish what belongs to a frame."""
        track = self._track(estimate)
        if self._markers.get_subscription_count():
            self._markers.publish(target_markers(estimate, self._axes))
        self._history.note(estimate)
        drawer, now_s = self._drawer, time.monotonic()
        if drawer is None or not self._image.get_subscription_count():
            return
        if now_s - self._last_drawn_s >= 1.0 / self._value("debug_image_rate_hz"):
            self._last_drawn_s = now_s
            drawer.put(DebugView(frame, estimate, latency_ms, dropped, track, self._history.frames()))

    def _track(self, estimate: Estimate) -> TrackState | None:
        if self._tracker is None:
            return None
        shows = shows_target(self._config.classes, estimate.scores, self._tracker.config.none_above)
        _, track = self._tracker.step(
            estimate.stamp_ns, *((estimate.mean_m, estimate.covariance_m2) if shows else ()))
        if track is not None:
            place = self._config.localization
            self._odometry.publish(odometry_message(
                track, self._config.frame_id, self._value("target_frame"), place.plane_z_m, place.std_floor_m**2))
        return track

    def _draw(self, view: DebugView) -> None:
        _lower_priority()
        pixels = self._picture.draw(view)
        self._image.publish(image_message(pixels, view.frame.stamp_ns, self._config.frame_id))

    def _failed(self, error: Exception) -> None:
        if self._node.context.ok():
            self._node.get_logger().error(f"debug picture: {error!r}", once=True)

    def _make_tracker(self) -> Tracker:
        return Tracker(TrackerConfig(
            acceleration=self._value("tracking_acceleration"), spread=self._value("tracking_spread"),
            gate=self._value("tracking_gate"), timeout_s=self._value("tracking_timeout_s"),
            none_above=self._value("tracking_none_above")), self._axes)

    def _value(self, name: str) -> object:
        return self._node.get_parameter(name).value


def _lower_priority() -> None:
    """Let the calling thread have what the others leave. Linux alone has priorities of threads."""
    try:
        thread = threading.get_native_id()
        if os.getpriority(os.PRIO_PROCESS, thread) < NICENESS:
            os.setpriority(os.PRIO_PROCESS, thread, NICENESS)
    except (OSError, AttributeError):  # another system: it draws at the priority of the process
        pass
