# SPDX-License-Identifier: Apache-2.0
import math
from types import SimpleNamespace as Message

import pytest

from admn_ros.budget.budget import Budget
from admn_ros.budget.compute_budget import LONGEST_NAME, WITHDRAW, BudgetRequest, read_budget
from admn_ros.errors import InputError
from admn_ros.recordings import bag_messages


def test_a_recorded_message_is_decoded_to_the_written_values():
    message = bag_messages.compute_budget(7.5, "gflops", 1, source="battery", priority=3, valid_for_ns=2_500_000_000)
    assert read_budget(message) == BudgetRequest("battery", Budget(7.5, "gflops", "battery"), 3, 2.5, 1)


def test_a_name_of_a_source_is_one_line_of_bounded_length():
    message = bag_messages.compute_budget(7.5, "layers", 1, source="a\n[FATAL] \x1b[2J" + 10_000 * "b")
    request = read_budget(message)
    assert request.source == request.budget.source and request.source.startswith(r"a\n[FATAL] \x1b[2J")
    assert len(request.source) < 2 * LONGEST_NAME


def test_a_withdrawal_needs_no_other_field():
    message = bag_messages.compute_budget(0, "layers", 1, source="battery")
    message.unit, message.limit = WITHDRAW, math.nan
    assert read_budget(message) == BudgetRequest("battery", None)


@pytest.mark.parametrize(("changes", "says"), [
    ({"unit": 9}, "budget.unit: found 9; allowed: 0 layers, 1 gflops, .* 255 to withdraw"),
    ({"limit": -1.0}, "limit: found -1.0"), ({"limit": float("nan")}, "limit: found nan"),
    ({"valid_for": Message(sec=-1, nanosec=500_000_000)}, "budget.valid_for: found -0.5 s")])
def test_an_invalid_message_is_refused(changes, says):
    fields = {"header": Message(stamp=Message(sec=0, nanosec=0)), "unit": 0,
              "limit": 1.0, "source": "", "priority": 0, "valid_for": Message(sec=0, nanosec=0)}
    with pytest.raises(InputError, match=says):
        read_budget(Message(**fields | changes))
