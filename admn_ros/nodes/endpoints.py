# SPDX-License-Identifier: Apache-2.0
"""Publishers and subscriptions with QoS overrides and QoS diagnostics."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.lifecycle import LifecyclePublisher
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import (
    DurabilityPolicy,
    QoSCompatibility,
    QoSPolicyKind,
    QoSProfile,
    qos_check_compatible,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

from admn_ros.inference.seen_causes import SeenCauses
from admn_ros.recordings.topic_names import similar_topics

OVERRIDABLE = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)


@dataclass(eq=False)
class _Endpoint:
    """One endpoint of the node.

    Attributes:
        handle: the publisher or subscription.
        policy: last QoS policy that a peer did not match; empty without one.
        latched: creates a subscription to transient local publishers; None where that is not wanted, or done.
        history: that subscription.
    """

    handle: Publisher | Subscription | None = None
    policy: str = ""
    latched: Callable[[], Subscription] | None = None
    history: Subscription | None = None


class Endpoints:
    """Endpoints of a node.

    Each endpoint reads the parameters `qos_overrides.TOPIC.subscription.POLICY` (or `.publisher.`) when it is
    created; POLICY is history, depth, reliability or durability.

    Args:
        node: node that the endpoints belong to.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._endpoints: list[_Endpoint] = []
        self._logged = SeenCauses()

    def __len__(self) -> int:
        return len(self._endpoints)

    def create_subscription(self, kind: type, topic: str, callback: Callable[..., None], profile: QoSProfile,
                            latched: QoSProfile | None = None,
                            on_latched: Callable[..., None] | None = None) -> Subscription:
        """Create a subscription.

        Args:
            kind: message class.
            topic: topic name, as for `create_subscription`.
            callback: receives each message.
            profile: QoS, before overrides.
            latched: QoS of a second subscription, created by `check_graph` once a transient local publisher is there,
                so that its earlier messages arrive too. Its later messages then arrive twice. It is not created at
                once, because volatile publishers would warn of a subscription that they do not match.
            on_latched: receives the messages of that second subscription; None is `callback`.

        Raises:
            RuntimeError: an override is not a value of its policy.
        """
        made = _Endpoint()
        made.handle = self._node.create_subscription(
            kind, topic, callback, copy.copy(profile), qos_overriding_options=QoSOverridingOptions(OVERRIDABLE),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=lambda event: self._note(made, event)))
        if latched is not None:
            # Volatile publishers beside the latched one do not match it, and reach the first one.
            made.latched = lambda: self._node.create_subscription(
                kind, topic, on_latched or callback, latched,
                event_callbacks=SubscriptionEventCallbacks(incompatible_qos=lambda event: None))
        self._endpoints.append(made)
        return made.handle

    def create_publisher(self, kind: type, topic: str, profile: QoSProfile, managed: bool = True) -> Publisher:
        """Create a publisher.

        Args:
            kind: message class.
            topic: topic name, as for `create_publisher`.
            profile: QoS, before overrides.
            managed: publish only while the lifecycle node is active.

        Raises:
            RuntimeError: an override is not a value of its policy.
        """
        made = _Endpoint()
        create = self._node.create_lifecycle_publisher if managed else self._node.create_publisher
        # rclpy writes overrides into the profile that it is given. The profiles here are shared: pass a copy.
        made.handle = create(
            kind, topic, copy.copy(profile), qos_overriding_options=QoSOverridingOptions(OVERRIDABLE),
            event_callbacks=PublisherEventCallbacks(incompatible_qos=lambda event: self._note(made, event)))
        self._endpoints.append(made)
        return made.handle

    @property
    def wanted(self) -> bool:
        """Whether a publisher of the active state has a subscriber beside the subscriptions of this node (`/tf`)."""
        own = Counter(handle.topic_name for e in self._endpoints for handle in (e.handle, e.history)
                      if isinstance(handle, Subscription))
        return any(isinstance(e.handle, LifecyclePublisher)
                   and e.handle.get_subscription_count() > own[e.handle.topic_name] for e in self._endpoints)

    def destroy(self, handle: Publisher | Subscription) -> None:
        """Remove an endpoint from the graph."""
        for found in [e for e in self._endpoints if e.handle is handle]:
            self._endpoints.remove(found)
            self._destroy(found)

    def close(self) -> None:
        """Remove all endpoints from the graph."""
        while self._endpoints:
            self._destroy(self._endpoints.pop())

    def check_graph(self) -> dict[str, str]:
        """Subscribe to latched publishers that appeared, and find QoS mismatches. Call it periodically.

        Returns:
            Description of the mismatch by full topic name, for peers that are on the graph now. Each is logged once.
        """
        for each in self._endpoints:
            if each.latched is not None and self._is_latched(each.handle.topic_name):
                each.history, each.latched = each.latched(), None
        return self._mismatches()

    def on_the_graph(self, topic: str, kind: str, taken: Collection[str] = ()) -> str:
        """Describe what other nodes publish in the place of a topic that has no messages; empty if nothing.

        It searches the graph: call it for inputs that are silent, and not for each message.

        Args:
            topic: full name of the topic.
            kind: its expected message type, such as `sensor_msgs/msg/Image`.
            taken: full names of topics that have another purpose.
        """
        peers = self._node.get_publishers_info_by_topic(topic)
        wrong = [f"{p.topic_type} by {full_name(p)}" for p in peers if p.topic_type != kind]
        if wrong:
            return f"{topic} is published as {'; '.join(dict.fromkeys(wrong))}; the deployment expects {kind}"
        if peers:
            return ""
        own = f"{self._node.get_fully_qualified_name()}/"
        published = {name: ", ".join(kinds) for name, kinds in self._node.get_topic_names_and_types()
                     if not name.startswith(own) and self._node.count_publishers(name)}
        similar = similar_topics(topic, kind, published, taken)
        return f"nothing received on {topic}, which nobody publishes" + (
            f"; there is {', '.join(similar)}" if similar else "")

    def _is_latched(self, topic: str) -> bool:
        return any(p.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
                   for p in self._node.get_publishers_info_by_topic(topic))

    def _mismatches(self) -> dict[str, str]:
        found = {}
        for each in self._endpoints:
            peers = self._unmatched(each.handle) if each.policy else []
            if peers:
                found[each.handle.topic_name] = f"incompatible QoS ({each.policy}): {'; '.join(peers)}"
        for topic, text in found.items():
            if self._logged.is_new(f"{topic}: {text}"):
                self._node.get_logger().error(f"{topic}: {text}")
        return found

    def _note(self, endpoint: _Endpoint, event: object) -> None:
        endpoint.policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        self._mismatches()  # log now; diagnostics follow with their own period

    def _destroy(self, endpoint: _Endpoint) -> None:
        for handle in (endpoint.handle, endpoint.history):
            if isinstance(handle, Subscription):
                self._node.destroy_subscription(handle)
            elif handle is not None:
                getattr(self._node, "destroy_lifecycle_publisher", self._node.destroy_publisher)(handle)

    def _unmatched(self, handle: Publisher | Subscription) -> list[str]:
        """Name the peers of an endpoint whose QoS is incompatible, and why."""
        subscribes = isinstance(handle, Subscription)
        peers = self._node.get_publishers_info_by_topic if subscribes else self._node.get_subscriptions_info_by_topic
        found = []
        for peer in peers(handle.topic_name):
            pair = (peer.qos_profile, handle.qos_profile) if subscribes else (handle.qos_profile, peer.qos_profile)
            compatibility, reason = qos_check_compatible(*pair)
            if compatibility == QoSCompatibility.ERROR:
                found.append(f"{full_name(peer)} ({reason.removeprefix('ERROR: ').rstrip('; ')})")
        return found


def full_name(peer: TopicEndpointInfo) -> str:
    """Return the full name of the node of an endpoint; while it is being discovered, a placeholder with `UNKNOWN`."""
    return f"{peer.node_namespace.rstrip('/')}/{peer.node_name}"
