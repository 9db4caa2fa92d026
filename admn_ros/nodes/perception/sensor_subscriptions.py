# SPDX-License-Identifier: Apache-2.0
"""Subscriptions to sensors, calibrations and TF."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from rclpy.subscription import Subscription

from admn_ros.deployment import MESSAGE_TYPES, InputTopic
from admn_ros.errors import ConfigError, InputError
from admn_ros.inference.pipeline import Pipeline
from admn_ros.nodes import qos
from admn_ros.nodes.alarm import Alarm
from admn_ros.nodes.managed_node import ManagedNode
from admn_ros.nodes.perception.camera_inputs import CameraInputs
from admn_ros.nodes.perception.target_frames import transform_class
from admn_ros.recordings import tf_tree
from admn_ros.sample import SensorFrame, SensorKey


def message_class(key: SensorKey, entry: InputTopic) -> type:
    """Import the message class of an input.

    Raises:
        ConfigError: the package is not installed, or has no such message.
    """
    package, _, name = MESSAGE_TYPES[entry.kind_of(key.modality)].split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"sensors.{key.node}.{key.modality}.type", f"{entry.type}, but there is no {package}/{name}",
                          f"a type whose package is installed (ROS package {package})") from error


TRANSFORMS_WITHIN_S = 5.0
"""Time after which a pose that TF does not give is logged, in seconds."""


@dataclass(frozen=True)
class ReceivedFrame:
    """A frame with its arrival time.

    Attributes:
        frame: synchronized readings.
        arrived_s: time at which the newest message arrived, in seconds of `time.monotonic`.
    """

    frame: SensorFrame
    arrived_s: float


class SensorSubscriptions:
    """Subscriptions to the inputs of a pipeline. All callbacks run on the executor's thread.

    Args:
        node: node that subscribes.
        pipeline: decodes, synchronizes and preprocesses ahead.
        on_frame: receives each completed frame.
        wants_frame: returns whether a frame would be used now; readings are preprocessed ahead only then.

    Raises:
        Exception: rclpy could not create a subscription; none is left.
    """

    def __init__(self, node: ManagedNode, pipeline: Pipeline, on_frame: Callable[[ReceivedFrame], None],
                 wants_frame: Callable[[], bool]) -> None:
        self._node, self._pipeline, self._frames = node, pipeline, pipeline.frames
        self._on_frame, self._wants_frame = on_frame, wants_frame
        self._last_arrival_s = 0.0
        self._resets = 0
        self._located: set[str] = set()
        self._since_s, self._lost = time.monotonic(), set[str]()
        self._subscriptions: list[Subscription] = []
        self._alarm: Alarm | None = None
        self._cameras = CameraInputs(node, node.endpoints, self._frames)
        try:
            self._alarm = Alarm(node, self._poll)
            for key, entry in self._frames.inputs.items():
                self._subscribe(message_class(key, entry), entry.topic, partial(self._receive, key), qos.SENSOR_IN)
            if self._frames.node_poses is not None:
                self._subscribe_to_transforms()
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Remove the subscriptions."""
        while self._subscriptions:
            self._node.endpoints.destroy(self._subscriptions.pop())
        self._cameras.close()
        if self._alarm is not None:
            self._alarm.close()

    def check(self) -> None:
        """Log new problems of camera calibrations, and poses that TF does not give. Call it periodically."""
        self._cameras.check()
        poses = self._frames.node_poses
        if poses is None or transform_class() is None or time.monotonic() - self._since_s < TRANSFORMS_WITHIN_S:
            return
        for node, why in poses.missing.items():
            if node not in self._lost:
                self._lost.add(node)
                self._node.get_logger().warning(
                    f"{node}: {why} on /tf or /tf_static; the pose in the model file is used")

    def absent(self) -> dict[SensorKey, str]:
        """Return what other nodes publish in the place of inputs that receive nothing. Call it periodically."""
        topics = {key: self._node.resolve_topic_name(entry.topic) for key, entry in self._frames.inputs.items()}
        kinds = {key: MESSAGE_TYPES[entry.kind_of(key.modality)] for key, entry in self._frames.inputs.items()}
        silent = [key for key, count in self._frames.watch.recent.items() if not count.accepted and not count.refused]
        return {key: self._node.endpoints.on_the_graph(topics[key], kinds[key], topics.values()) for key in silent}

    def _poll(self) -> None:
        """Pass on frames whose waiting time has run out."""
        self._pass_on(self._frames.poll(self._node.receive_clock.now_s()))
        self._sleep()

    def _sleep(self) -> None:
        """Set the alarm to the next time at which a frame may be complete without a message."""
        due_s, clock = self._frames.due_s(), self._node.receive_clock
        if due_s is None:
            return
        delay_s = due_s - clock.now_s()
        if clock.simulated:  # how fast it runs is not known
            delay_s = min(delay_s, self._node.value("poll_period_s"))
        self._alarm.set(delay_s)

    def _subscribe(self, kind: type, topic: str, callback: Callable[[object], None], profile: qos.QoSProfile) -> None:
        self._subscriptions.append(self._node.endpoints.create_subscription(kind, topic, callback, profile))

    def _subscribe_to_transforms(self) -> None:
        kind = transform_class()
        if kind is None:
            self._node.get_logger().warning(
                "frames: the package tf2_msgs is not installed; the poses of the sensor nodes in the model file are "
                "used", once=True)
            return
        for topic, profile in zip(tf_tree.TOPICS, (qos.STATIC_TRANSFORMS_IN, qos.TRANSFORMS_IN), strict=True):
            self._subscribe(kind, topic, self._receive_transforms, profile)

    def _receive_transforms(self, message: object) -> None:
        for name in self._frames.node_poses.add(message):
            if name not in self._located:
                self._located.add(name)
                pose = self._frames.node_poses.poses[name]
                self._node.get_logger().info(
                    f"{name}: pose from TF: {pose.x_m:.2f} {pose.y_m:.2f} {pose.z_m:.2f} m, yaw {pose.yaw_rad:.2f} "
                    f"rad, tilt {pose.tilt_rad:.2f} rad")

    def _receive(self, key: SensorKey, message: object) -> None:
        arrived_s = time.monotonic()
        try:
            completed = self._frames.receive(key, message, self._node.receive_clock.now_s())
        except InputError as error:
            if self._frames.refuse(key, error):
                self._node.get_logger().warning(
                    f"message refused (further ones of this kind are only counted): {error}")
            return
        self._last_arrival_s = arrived_s
        self._log_resets()
        self._pass_on(completed)
        self._sleep()
        if self._wants_frame():
            self._pipeline.preprocess_ahead(key, completed)

    def _pass_on(self, frames: list[SensorFrame]) -> None:
        for frame in frames:
            self._on_frame(ReceivedFrame(frame, self._last_arrival_s))

    def _log_resets(self) -> None:
        count = self._frames.synchronizer.resets
        if count != self._resets:
            self._resets = count
            self._node.get_logger().warning("time jumped back (does a bag loop?): the synchronizer was reset",
                                            throttle_duration_sec=10.0)
