# SPDX-License-Identifier: Apache-2.0
"""Decoding of `ComputeBudget` messages, received or recorded, and their age."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from admn_ros.budget.budget import Budget
from admn_ros.config import BUDGET_UNITS, BudgetUnit
from admn_ros.errors import InputError, one_line

PLAIN_TYPES: Final[dict[BudgetUnit, str]] = {
    "layers": "std_msgs/msg/UInt16", "milliseconds": "std_msgs/msg/Float32", "watts": "std_msgs/msg/Float32"}
"""Message types of the topics below that of `ComputeBudget` that take a bare number, by unit, which is their name."""
WITHDRAW_TYPE: Final = "std_msgs/msg/String"
"""Message type of the topic `withdraw` beside them."""
WITHDRAW: Final = 255
"""`ComputeBudget.WITHDRAW`."""
AHEAD_S: Final = 1.0
"""Largest lead of a stamp over the clock of the node, in seconds: clocks of two machines differ a little."""
LONGEST_NAME: Final = 200
"""Characters of the name of a source."""
ANOTHER_CLOCK_S: Final = 86400.0
"""Age from which on a stamp is of another clock, in seconds: simulated time, or a clock that was never set."""


class BudgetRequest(NamedTuple):
    """Request of a power manager.

    Attributes:
        source: name of the requester; empty for a request without a name.
        budget: limit and unit; None withdraws the budget of the source.
        priority: rank among the sources; the highest wins.
        valid_for_s: validity in seconds; 0 until the source replaces or withdraws the budget.
        stamp_ns: time of the decision in nanoseconds; 0 if unknown.
    """

    source: str
    budget: Budget | None
    priority: int = 0
    valid_for_s: float = 0.0
    stamp_ns: int = 0


class Validity(NamedTuple):
    """What is left of the validity of a request.

    Attributes:
        seconds: validity from now on; 0 has no end.
        doubt: why the age is unknown; None if it is known.
    """

    seconds: float
    doubt: InputError | None = None


def source_name(text: str) -> str:
    """Return the name of a source as one line of bounded length."""
    return one_line(text[:LONGEST_NAME])


def read_budget(message: Any) -> BudgetRequest:
    """Decode a `ComputeBudget` message of rclpy or of a bag reader.

    Raises:
        InputError: unknown unit, NaN or negative limit, or negative validity.
    """
    source = source_name(message.source)
    if message.unit == WITHDRAW:
        return BudgetRequest(source, None)
    if message.unit >= len(BUDGET_UNITS):
        raise InputError("budget.unit", message.unit,
                         f"{', '.join(f'{i} {u}' for i, u in enumerate(BUDGET_UNITS))}, {WITHDRAW} to withdraw")
    valid_for_s = message.valid_for.sec + message.valid_for.nanosec * 1e-9
    if valid_for_s < 0:
        raise InputError("budget.valid_for", f"{valid_for_s} s", "0 or more seconds")
    stamp = message.header.stamp
    return BudgetRequest(source, Budget(message.limit, BUDGET_UNITS[message.unit], source),
                         int(message.priority), valid_for_s, stamp.sec * 10**9 + stamp.nanosec)


def remaining(request: BudgetRequest, clock_ns: int) -> Validity:
    """Return what is left of the validity of a request that arrives now.

    The age counts from the stamp. Without a stamp, or if the stamp cannot be of the clock of the node, it counts from
    now. In the latter case the request is doubtful: it may be old, so it must not raise a budget.

    Args:
        request: a request with a budget.
        clock_ns: time now, in nanoseconds of the clock that stamps refer to.

    Raises:
        InputError: the request has expired.
    """
    if request.valid_for_s == 0 or request.stamp_ns == 0:
        return Validity(request.valid_for_s)
    age_s = (clock_ns - request.stamp_ns) * 1e-9
    if age_s < -AHEAD_S or age_s >= max(ANOTHER_CLOCK_S, request.valid_for_s):
        found = f"{-age_s:.1f} s ahead of" if age_s < 0 else f"{age_s:.0f} s behind"
        return Validity(request.valid_for_s, InputError(
            "budget.header.stamp", f"{found} the clock of this node",
            "the same clock (use_sim_time of both nodes), or no stamp; "
            f"the request of {request.budget} may only lower the budget"))
    left_s = request.valid_for_s - max(0.0, age_s)
    if left_s <= 0:
        raise InputError("budget.header.stamp", f"a request that is {age_s:.1f} s old",
                         f"younger than its validity of {request.valid_for_s:g} s")
    return Validity(left_s)
