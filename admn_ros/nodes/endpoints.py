# SPDX-License-Identifier: Apache-2.0
"""Publishers and subscriptions whose QoS the user can override, and who of the others does not match them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSCompatibility, QoSPolicyKind, QoSProfile, qos_check_compatible, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

OVERRIDABLE = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
_MOST_LOGGED = 100


@dataclass(eq=False)
class _Port:
    """One endpoint of this node. policy: the last one that somebody did not match; empty where all did."""

    endpoint: Publisher | Subscription | None = None
    policy: str = ""


class Endpoints:
    """Makes the endpoints of a node and watches who cannot talk to them.

    Each takes the parameters `qos_overrides.TOPIC.subscription.POLICY` (or `.publisher.`), with the policies
    history, depth, reliability and durability, when the node starts.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._ports: list[_Port] = []
        self._logged: set[tuple[str, str]] = set()

    def subscribe(self, kind: type, topic: str, callback: Callable[..., None], profile: QoSProfile) -> Subscription:
        """A subscription.

        Raises:
            RuntimeError: an override that is not a value of its policy.
        """
        port = _Port()
        port.endpoint = self._node.create_subscription(
            kind, topic, callback, copy.copy(profile), qos_overriding_options=QoSOverridingOptions(OVERRIDABLE),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=lambda event: self._note(port, event)))
        self._ports.append(port)
        return port.endpoint

    def publish(self, kind: type, topic: str, profile: QoSProfile, managed: bool = True) -> Publisher:
        """A publisher; `managed`: it speaks only while the lifecycle node is active.

        Raises:
            RuntimeError: an override that is not a value of its policy.
        """
        port = _Port()
        create = self._node.create_lifecycle_publisher if managed else self._node.create_publisher
        # rclpy writes overrides into the profile that it is given: ours are shared, so it gets a copy.
        port.endpoint = create(
            kind, topic, copy.copy(profile), qos_overriding_options=QoSOverridingOptions(OVERRIDABLE),
            event_callbacks=PublisherEventCallbacks(incompatible_qos=lambda event: self._note(port, event)))
        self._ports.append(port)
        return port.endpoint

    def destroy(self, endpoint: Publisher | Subscription) -> None:
        """Take an endpoint off the graph."""
        self._ports = [p for p in self._ports if p.endpoint is not endpoint]
        if isinstance(endpoint, Subscription):
            self._node.destroy_subscription(endpoint)
        else:
            getattr(self._node, "destroy_lifecycle_publisher", self._node.destroy_publisher)(endpoint)

    def mismatches(self) -> dict[str, str]:
        """What is wrong with the topics on which somebody's QoS does not match ours, by full name; logged once each.

        Only who is still there counts, so that the error goes away with its cause.
        """
        found = {}
        for port in self._ports:
            others = self._unmatched(port.endpoint) if port.policy else []
            if others:
                found[port.endpoint.topic_name] = f"incompatible QoS ({port.policy}): {'; '.join(others)}"
        for topic, text in found.items():
            if (topic, text) not in self._logged and len(self._logged) < _MOST_LOGGED:
                self._logged.add((topic, text))
                self._node.get_logger().error(f"{topic}: {text}")
        return found

    def _note(self, port: _Port, event: object) -> None:
        port.policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        self.mismatches()  # the log need not wait for the next diagnostics

    def _unmatched(self, endpoint: Publisher | Subscription) -> list[str]:
        listens = isinstance(endpoint, Subscription)
        others = self._node.get_publishers_info_by_topic if listens else self._node.get_subscriptions_info_by_topic
        found = []
        for other in others(endpoint.topic_name):
            pair = (other.qos_profile, endpoint.qos_profile) if listens else (endpoint.qos_profile, other.qos_profile)
            verdict, reason = qos_check_compatible(*pair)
            if verdict == QoSCompatibility.ERROR:
                found.append(f"{other.node_namespace.rstrip('/')}/{other.node_name} "
                             f"({reason.removeprefix('ERROR: ').rstrip('; ')})")
        return found
