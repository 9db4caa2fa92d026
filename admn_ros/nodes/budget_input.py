# SPDX-License-Identifier: Apache-2.0
"""Subscriptions to the requests of power managers.

Messages are ordered by their arrival and by the sequence numbers of their publishers, never by the clock of a
publisher, which may be stepped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from rclpy.node import Node
from std_msgs import msg as std

from admn_ros.budget.budget import MAX_SOURCES, Budget
from admn_ros.budget.compute_budget import PLAIN_TYPES, BudgetRequest, read_budget, source_name
from admn_ros.config import BudgetUnit
from admn_ros.errors import InputError
from admn_ros.msg import ComputeBudget
from admn_ros.nodes import qos
from admn_ros.nodes.endpoints import Endpoints, full_name

REMEMBERED = 256
"""Messages of a topic that are recognized when they arrive a second time."""

Info = dict[str, Any]
OnRequest = Callable[[BudgetRequest, str], None]
OnRefused = Callable[[str, InputError], None]


class PublisherStreams:
    """Separates the publishers of a topic, which rclpy does not name with a message, by their sequence numbers."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}  # latest sequence number by stream, the least recently used first

    def find(self, number: int, publishers: int) -> tuple[int, list[int]]:
        """Return the stream that a message belongs to, and the streams that ended.

        Args:
            number: sequence number of the message at its publisher; 0 if the middleware does not give it.
            publishers: number of publishers of the topic.
        """
        if number == 0 or publishers < 2:
            ended = [stream for stream in self._numbers if stream != 0]
            self._numbers = {0: number}
            return 0, ended
        stream = self._match(number, publishers)
        self._numbers.pop(stream, None)
        self._numbers[stream] = number
        return stream, []

    def _match(self, number: int, publishers: int) -> int:
        following = [stream for stream, last in self._numbers.items() if last + 1 == number]
        if following:
            return following[0]
        if len(self._numbers) < publishers:
            return next(stream for stream in range(publishers) if stream not in self._numbers)
        below = [stream for stream, last in self._numbers.items() if last < number]
        return max(below, key=lambda stream: self._numbers[stream]) if below else next(iter(self._numbers))


class RequestTopic:
    """Subscription to one topic of requests, from volatile and transient local publishers, without duplicates.

    A transient local publisher reaches two subscriptions; see `Endpoints.create_subscription`. The second one starts
    with what the publisher kept. A kept message that is older than one that arrived before must not replace it. Its
    sequence number is lower, but so is that of a new publisher under the same name. What follows decides: the older
    message is followed by one that is known already. A message that nothing follows is passed on by `poll`.

    Args:
        node: node that subscribes.
        endpoints: endpoints of the node.
        kind: message class.
        topic: topic name.
        name_of: returns the source of a message; empty for one without a name.
        on_message: receives each message once, with its source, and its stream if the source has no name.
    """

    def __init__(self, node: Node, endpoints: Endpoints, kind: type, topic: str, name_of: Callable[[Any], str],
                 on_message: Callable[[Any, str, str], None]) -> None:
        self._node, self._name_of, self._on_message = node, name_of, on_message
        self._seen: deque[tuple[object, ...]] = deque(maxlen=REMEMBERED)
        self._newest: dict[str, int] = {}
        self._held: dict[str, tuple[Any, Info]] = {}
        self._streams = PublisherStreams()
        self.topic, self._type = node.resolve_topic_name(topic), f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
        endpoints.create_subscription(kind, topic, self.receive, qos.COMMAND_IN, qos.LATCHED_COMMAND_IN,
                                      on_latched=self.receive_kept)

    def receive(self, message: Any, info: Info) -> None:
        """Take a message of the volatile subscription: its publisher sent it just now."""
        source = self._name_of(message)
        held = self._held.get(source)
        if held is not None and _identity(held[1]) == _identity(info):
            del self._held[source]
            self._pass_on(*held)
        elif not self._is_known(source, info):
            self._pass_on(message, info)

    def receive_kept(self, message: Any, info: Info) -> None:
        """Take a message of the transient local subscription: its publisher may have kept it."""
        source, number, known = self._name_of(message), _number(info), self._is_known(self._name_of(message), info)
        held = self._held.get(source)
        follows = held is not None and number == _number(held[1]) + 1
        if held is not None and (follows or not known):
            del self._held[source]
            if not follows:  # it is of another publisher
                self._pass_on(*held)
        if known:
            return
        if 0 < number < self._newest.get(source, 0):
            self._held[source] = (message, info)
        else:
            self._pass_on(message, info)

    def poll(self) -> None:
        """Pass on what was held back and not followed by anything. Call it periodically."""
        held, self._held = self._held, {}
        for message, info in held.values():
            self._pass_on(message, info)

    def other_types(self) -> list[tuple[str, InputError]]:
        """Return the publishers of this topic whose message type does not match, so that nothing arrives from them."""
        return [(full_name(p), InputError(self.topic, p.topic_type, self._type))
                for p in self._node.get_publishers_info_by_topic(self.topic)
                if p.topic_type != self._type and "UNKNOWN" not in full_name(p)]

    def _is_known(self, source: str, info: Info) -> bool:
        if (identity := (source, *_identity(info))) in self._seen:
            return True
        self._seen.append(identity)
        return False

    def _pass_on(self, message: Any, info: Info) -> None:
        source, number = self._name_of(message), _number(info)
        if number and (source in self._newest or len(self._newest) < MAX_SOURCES):
            self._newest[source] = number
        if source:
            self._on_message(message, source, source)
            return
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        names = sorted({full_name(p) for p in publishers})
        stream, ended = self._streams.find(number, len(publishers))
        label = " or ".join(names[:3]) or self.topic
        for other in ended:
            self._on_message(None, label, f"{self.topic}#{other}")
        self._on_message(message, label, f"{self.topic}#{stream}")


class BudgetInput:
    """Requests of power managers: `ComputeBudget`, and where `plain` is set, bare numbers and withdrawals by name.

    A request without a name is named after the node that published it. Several publishers without a name are kept apart
    by their sequence numbers. Once only one of them is left, its request replaces those of the others.

    Args:
        node: node that subscribes.
        endpoints: endpoints of the node.
        topic: topic of `ComputeBudget`; the others are below it.
        on_request: receives each request once, with the identity of its source.
        on_refused: receives the source of each message that cannot be decoded, and the reason.
        on_withdrawal: receives names of sources whose requests are withdrawn; None for no further topics.
    """

    def __init__(self, node: Node, endpoints: Endpoints, topic: str, on_request: OnRequest, on_refused: OnRefused,
                 on_withdrawal: Callable[[str], None] | None = None) -> None:
        self._on_request, self._on_refused = on_request, on_refused
        self._topics = [
            RequestTopic(node, endpoints, ComputeBudget, topic, lambda m: source_name(m.source), self._receive)]
        if on_withdrawal is None:
            return
        for unit, kind in PLAIN_TYPES.items():
            receive = partial(self._receive_number, unit)
            message = getattr(std, kind.rpartition("/")[2])
            self._topics.append(RequestTopic(node, endpoints, message, f"{topic}/{unit}", lambda m: "", receive))
        endpoints.create_subscription(std.String, f"{topic}/withdraw",
                                      lambda message: on_withdrawal(source_name(message.data)), qos.COMMAND_IN)

    def poll(self) -> None:
        """Pass on what was held back, and refuse publishers of other message types. Call it periodically."""
        for topic in self._topics:
            topic.poll()
            for source, error in topic.other_types():
                self._on_refused(source, error)

    def _receive(self, message: ComputeBudget | None, source: str, key: str) -> None:
        try:
            request = BudgetRequest(source, None) if message is None else read_budget(message)
        except InputError as error:
            self._on_refused(source, error)
            return
        budget = None if request.budget is None else replace(request.budget, source=source)
        self._on_request(request._replace(source=source, budget=budget), key)

    def _receive_number(self, unit: BudgetUnit, message: std.UInt16 | std.Float32 | None, source: str,
                        key: str) -> None:
        try:
            budget = None if message is None else Budget(message.data, unit, source)
        except InputError as error:
            self._on_refused(source, error)
            return
        self._on_request(BudgetRequest(source, budget), key)


def _number(info: Info) -> int:
    """Return the sequence number of a message at its publisher, from 1 on; 0 if the middleware does not give it."""
    return int(info.get("publication_sequence_number") or 0)


def _identity(info: Info) -> tuple[object, ...]:
    # Two publishers never share time and number. The time is compared for equality only.
    return info.get("source_timestamp"), _number(info)
