# SPDX-License-Identifier: Apache-2.0
"""Decoding of `ComputeBudget` messages, received or recorded."""

from __future__ import annotations

from typing import Any, NamedTuple

from admn_ros.budget.budget import Budget
from admn_ros.config import BUDGET_UNITS
from admn_ros.errors import InputError


class BudgetRequest(NamedTuple):
    """Budget of a power manager.

    Attributes:
        budget: limit, unit and source.
        priority: rank among the sources; the highest wins.
        valid_for_s: validity from arrival on, in seconds; 0 until the source replaces it.
    """

    budget: Budget
    priority: int
    valid_for_s: float


def read_budget(message: Any) -> BudgetRequest:
    """Decode a `ComputeBudget` message of rclpy or of a bag reader.

    Raises:
        InputError: unknown unit, NaN or negative limit, or negative validity.
    """
    if message.unit >= len(BUDGET_UNITS):
        raise InputError("budget.unit", message.unit, ", ".join(f"{i} {u}" for i, u in enumerate(BUDGET_UNITS)))
    valid_for_s = message.valid_for.sec + message.valid_for.nanosec * 1e-9
    if valid_for_s < 0:
        raise InputError("budget.valid_for", f"{valid_for_s} s", "0 or more seconds")
    return BudgetRequest(Budget(message.limit, BUDGET_UNITS[message.unit], message.source), int(message.priority),
                         valid_for_s)
