# SPDX-License-Identifier: Apache-2.0
"""A topic on which power managers publish budgets."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy

from admn_ros.budget.budget import MAX_SOURCES, Budget
from admn_ros.errors import InputError
from admn_ros.msg import ComputeBudget
from admn_ros.nodes import qos
from admn_ros.nodes.conversions import budget_from_message
from admn_ros.nodes.endpoints import Endpoints


class BudgetInput:
    """Budgets from publishers of any durability, each once.

    Args:
        node: whose graph is looked at.
        ports: make the subscription.
        topic: of `ComputeBudget`.
        take: gets the budget, its priority and its validity in seconds; may raise InputError.
        refuse: gets what is wrong with a message that cannot be taken.
    """

    def __init__(self, node: Node, ports: Endpoints, topic: str, take: Callable[[Budget, int, float], None],
                 refuse: Callable[[InputError], None]) -> None:
        self._node, self._ports, self._topic, self._take, self._refuse = node, ports, topic, take, refuse
        self._last: dict[str, int] = {}
        self._subscriptions = [ports.subscribe(ComputeBudget, topic, self._receive, qos.COMMAND_IN)]

    def follow_latched(self) -> None:
        """Once a power manager latches its budget, subscribe so that what it said before arrives too.

        Its later messages then come twice, and are taken once. Not from the start: other publishers
        would warn of a subscription that they do not match.
        """
        if len(self._subscriptions) > 1:
            return
        publishers = self._node.get_publishers_info_by_topic(self._subscriptions[0].topic_name)
        if any(p.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in publishers):
            self._subscriptions.append(self._node.create_subscription(
                ComputeBudget, self._topic, self._receive, qos.LATCHED_COMMAND_IN))

    def destroy(self) -> None:
        """Stop listening."""
        while self._subscriptions:
            self._ports.destroy(self._subscriptions.pop())

    def _receive(self, message: ComputeBudget, info: dict[str, int]) -> None:
        # A latching publisher reaches two subscriptions; of each source only what is newer counts.
        if info["source_timestamp"] <= self._last.get(message.source, -1):
            return
        if len(self._last) < MAX_SOURCES or message.source in self._last:
            self._last[message.source] = info["source_timestamp"]
        try:
            budget, valid_for_s = budget_from_message(message)
            self._take(budget, message.priority, valid_for_s)
        except InputError as error:
            self._refuse(error)
