# SPDX-License-Identifier: Apache-2.0
"""The sensors' side of the perception node: subscriptions in, frames out."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from functools import partial

from rclpy.node import Node
from rclpy.subscription import Subscription

from admn_ros.deployment import MESSAGE_TYPES, InputTopic
from admn_ros.errors import ConfigError, InputError
from admn_ros.inference.pipeline import Pipeline
from admn_ros.nodes import qos
from admn_ros.nodes.endpoints import Endpoints
from admn_ros.nodes.perception.camera_inputs import CameraInputs
from admn_ros.nodes.receive_clock import ReceiveClock
from admn_ros.sample import SensorFrame, SensorKey
from admn_ros.sensing.preprocess.node_poses import TRANSFORM_TOPICS, TRANSFORMS


def message_class(key: SensorKey, entry: InputTopic) -> type:
    """The class of an input's messages; its package is imported only where a deployment asks for it.

    Raises:
        ConfigError: the package is not installed, or is another one of the same name.
    """
    package, _, name = MESSAGE_TYPES[entry.kind_of(key.modality)].split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"sensors.{key.node}.{key.modality}.type", f"{entry.type}, but there is no {package}/{name}",
                          f"a type whose package is installed (ROS package {package})") from error


def transform_class() -> type | None:
    """tf2_msgs/TFMessage, or None where the package is not installed."""
    package, _, name = TRANSFORMS.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except ImportError:
        return None


class SensorSubscriptions:
    """Listens to the inputs of a pipeline while it is open. Everything here runs on the executor's thread.

    Args:
        node: whose log it writes to.
        ports: make the subscriptions.
        pipeline: decodes and synchronizes.
        clock: of arrival.
        deliver: gets each frame, and when its newest input came (monotonic, seconds).

    Raises:
        Exception: what rclpy raises where a subscription cannot be made; nothing is left open.
    """

    def __init__(self, node: Node, ports: Endpoints, pipeline: Pipeline, clock: ReceiveClock,
                 deliver: Callable[[SensorFrame, float], None]) -> None:
        self._node, self._ports, self._pipeline = node, ports, pipeline
        self._clock, self._deliver = clock, deliver
        self._last_arrival_s = 0.0
        self._resets = 0
        self._placed: set[str] = set()
        self._subscriptions: list[Subscription] = []
        self._cameras: CameraInputs | None = None
        try:
            self._cameras = CameraInputs(node, ports, pipeline)
            for key, entry in pipeline.frames.inputs.items():
                self._subscriptions.append(self._subscribe(key, entry))
            if pipeline.frames.node_poses is not None:
                self._follow_transforms()
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Stop listening."""
        while self._subscriptions:
            self._ports.destroy(self._subscriptions.pop())
        if self._cameras is not None:
            self._cameras.close()

    def look(self) -> None:
        """See who came to the graph, and what is wrong with the cameras. Call now and then."""
        if self._cameras is not None:
            self._cameras.look()

    def poll(self) -> None:
        """Hand over the frames whose wait has run out."""
        self._hand_over(self._pipeline.frames.poll(self._clock.now_s()))

    def _subscribe(self, key: SensorKey, entry: InputTopic) -> Subscription:
        return self._ports.subscribe(message_class(key, entry), entry.topic, partial(self._receive, key), qos.SENSOR_IN)

    def _follow_transforms(self) -> None:
        kind = transform_class()
        if kind is None:
            self._node.get_logger().warning(
                "frames: found no package tf2_msgs here; the sensor nodes stand where the model's file says", once=True)
            return
        for topic, profile in zip(TRANSFORM_TOPICS, (qos.STATIC_TRANSFORMS_IN, qos.TRANSFORMS_IN), strict=True):
            self._subscriptions.append(self._ports.subscribe(kind, topic, self._place, profile))

    def _place(self, message: object) -> None:
        for name in self._pipeline.frames.node_poses.add(message):
            if name in self._placed:
                continue
            self._placed.add(name)
            pose = self._pipeline.frames.node_poses.poses[name]
            self._node.get_logger().info(
                f"{name} stands at {pose.x_m:.2f} {pose.y_m:.2f} {pose.z_m:.2f} m, yaw {pose.yaw_rad:.2f} rad, tilt "
                f"{pose.tilt_rad:.2f} rad, by TF")

    def _receive(self, key: SensorKey, message: object) -> None:
        arrived_s = time.monotonic()
        try:
            frames = self._pipeline.frames.receive(key, message, self._clock.now_s())
        except InputError as error:
            if self._pipeline.frames.health[key].refuse(error):
                self._node.get_logger().warning(
                    f"message refused (further ones of this kind are only counted): {error}")
            return
        self._last_arrival_s = arrived_s
        self._note_resets()
        self._hand_over(frames)
        self._pipeline.preprocess_ahead(key, frames)

    def _hand_over(self, frames: list[SensorFrame]) -> None:
        for frame in frames:
            self._deliver(frame, self._last_arrival_s)

    def _note_resets(self) -> None:
        count = self._pipeline.frames.synchronizer.resets
        if count != self._resets:
            self._resets = count
            self._node.get_logger().warning("time jumped back (a bag that loops?): the synchronizer started afresh",
                                            throttle_duration_sec=10.0)
