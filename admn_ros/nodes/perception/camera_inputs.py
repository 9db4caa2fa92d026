# SPDX-License-Identifier: Apache-2.0
"""The topics on which cameras say how they are calibrated."""

from __future__ import annotations

from functools import partial

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo

from admn_ros.inference.pipeline import Pipeline
from admn_ros.nodes import qos
from admn_ros.nodes.endpoints import Endpoints
from admn_ros.sample import SensorKey


class CameraInputs:
    """Listens to the calibrations of a pipeline's cameras, each topic once, whoever shares it.

    A topic that the deployment does not name stands beside the image topic as that is remapped, and can itself be
    remapped.

    Args:
        node: whose graph is looked at and whose log is written to.
        ports: make the subscriptions.
        pipeline: whose cameras these are.

    Raises:
        Exception: what rclpy raises where a subscription cannot be made; nothing is left open.
    """

    def __init__(self, node: Node, ports: Endpoints, pipeline: Pipeline) -> None:
        self._node, self._ports, self._pipeline = node, ports, pipeline
        self._keys: dict[str, list[SensorKey]] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._latched: dict[str, Subscription] = {}
        self._said: set[str] = set()
        for key in pipeline.frames.cameras:
            entry = pipeline.frames.inputs[key]
            name = entry.info_topic(key.modality, node.resolve_topic_name(entry.topic))
            self._keys.setdefault(name, []).append(key)
        try:
            for name, keys in self._keys.items():
                made = ports.subscribe(CameraInfo, name, partial(self._receive, keys), qos.SENSOR_IN)
                self._subscriptions[name] = made
                for key in keys:
                    pipeline.frames.cameras[key].topic = made.topic_name
        except Exception:
            self.close()
            raise

    def look(self) -> None:
        """Subscribe to what latched publishers said before, and log what is wrong. Call now and then.

        Not from the start: a publisher that does not latch would warn of a subscription that it does not match.
        """
        for name, subscription in self._subscriptions.items():
            publishers = self._node.get_publishers_info_by_topic(subscription.topic_name)
            if name not in self._latched and any(
                    p.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in publishers):
                self._latched[name] = self._node.create_subscription(
                    CameraInfo, name, partial(self._receive, self._keys[name]), qos.LATCHED_STATE_IN)
        for key, camera in self._pipeline.frames.cameras.items():
            text = f"{key}: {camera.problem}"
            if camera.problem and text not in self._said and len(self._said) < 100:
                self._said.add(text)
                self._node.get_logger().warning(text)

    def close(self) -> None:
        """Stop listening."""
        for found in (self._subscriptions, self._latched):
            while found:
                self._ports.destroy(found.popitem()[1])

    def _receive(self, keys: list[SensorKey], message: CameraInfo) -> None:
        for key in keys:
            self._pipeline.frames.cameras[key].hear(message)
