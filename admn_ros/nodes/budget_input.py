# SPDX-License-Identifier: Apache-2.0
"""Subscription to the budgets of power managers."""

from __future__ import annotations

from collections.abc import Callable

from admn_ros.budget.budget import MAX_SOURCES
from admn_ros.msg import ComputeBudget
from admn_ros.nodes import qos
from admn_ros.nodes.endpoints import Endpoints


class BudgetInput:
    """Subscription to `ComputeBudget` from volatile and transient local publishers, without duplicates.

    Args:
        endpoints: endpoints of the node.
        topic: topic name.
        on_message: receives each message once.
    """

    def __init__(self, endpoints: Endpoints, topic: str, on_message: Callable[[ComputeBudget], None]) -> None:
        self._on_message = on_message
        self._last: dict[str, int] = {}
        endpoints.create_subscription(ComputeBudget, topic, self._receive, qos.COMMAND_IN,
                                      latched=qos.LATCHED_COMMAND_IN)

    def _receive(self, message: ComputeBudget, info: dict[str, int]) -> None:
        # A transient local publisher reaches two subscriptions: of each source, accept newer messages only.
        if info["source_timestamp"] <= self._last.get(message.source, -1):
            return
        if len(self._last) < MAX_SOURCES or message.source in self._last:
            self._last[message.source] = info["source_timestamp"]
        self._on_message(message)
