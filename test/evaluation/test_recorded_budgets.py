# SPDX-License-Identifier: Apache-2.0
"""Recorded requests and measurements follow the rules of the nodes, and what is refused is named."""

from __future__ import annotations

import math
from types import SimpleNamespace as Message

import pytest

from admn_ros.budget.budget import Budget
from admn_ros.budget.compute_budget import WITHDRAW
from admn_ros.evaluation.budgets import RecordedBudgets
from admn_ros.evaluation.governed_budget import GovernedBudget
from admn_ros.governor.config import GovernorConfig
from admn_ros.governor.governor import SOURCE
from admn_ros.model.costs import ModelCosts
from admn_ros.recordings import bag_messages as make
from helpers import models

START_S = 1_700_000_000
DEFAULT = Budget(8, "layers", "deployment file")
COSTS = ModelCosts(models.four_modalities())


def recorded() -> RecordedBudgets:
    return RecordedBudgets("/admn/budget", DEFAULT, lambda b: COSTS.share(b, 15.0) and None,
                           lambda b: COSTS.share(b, 15.0))


def request(limit: float, source: str = "battery", age_s: float = 0.0, valid_for_s: float = 0.0, **how: object):
    return make.compute_budget(limit, how.pop("unit", "layers"), round((START_S - age_s) * 1e9), source=source,
                               valid_for_ns=round(valid_for_s * 1e9), **how)


def take(budgets: RecordedBudgets, message: object, after_s: float = 0.0) -> tuple[float, str]:
    budgets.on_message("/admn/budget", message, START_S + after_s)
    now = budgets.at(START_S + after_s)
    return now.limit, now.source


def test_the_lowest_of_equals_wins_and_a_request_can_be_withdrawn():
    budgets = recorded()
    assert take(budgets, request(6, "battery")) == (6, "battery")
    assert take(budgets, request(12, "operator")) == (6, "battery")
    withdrawal = request(0, "battery")
    withdrawal.unit = WITHDRAW
    assert take(budgets, withdrawal) == (12, "operator")
    assert not budgets.refusals


@pytest.mark.parametrize(("message", "line"), [
    (request(2, age_s=15.0, valid_for_s=5.0), "battery: budget.header.stamp: found a request that is 15.0 s old"),
    (request(12, age_s=-37.0, valid_for_s=5.0), "battery: budget.header.stamp: found 37.0 s ahead of the clock"),
    (request(1, "", unit="joules"), "/admn/budget: unit: found joules")])
def test_a_request_that_cannot_be_used_is_named(message: object, line: str):
    budgets = recorded()
    assert take(budgets, message) == (8, "deployment file")
    [found] = budgets.refusals
    assert found.startswith("1 messages refused, last ") and line in found


def test_what_the_governor_refuses_is_named_and_the_rest_of_an_array_counts():
    law = GovernedBudget(GovernorConfig(rise_layers_per_s=1e4, fall_layers_per_s=1e4, hysteresis_layers=0.0), COSTS, "")
    law.at(START_S)
    for frame, celsius in (("gpu", -256.0), ("cpu", 90.0), ("board", math.nan)):
        law.on_message("/temperature", make.temperature(celsius, START_S * 10**9, frame), START_S)
    assert law.at(START_S + 1.0).limit == 1, "cpu is critical"
    assert [line.split(": ")[0] for line in law.refusals] == [
        "1 messages refused, last /temperature/board", "1 messages refused, last /temperature/gpu"]


def test_bare_numbers_and_withdrawals_by_name_are_those_of_the_node():
    budgets = recorded()
    assert take(budgets, request(12, "operator")) == (12, "operator")

    def send(below: str, data: object) -> tuple[float, str]:
        budgets.on_message(f"/admn/budget/{below}", Message(data=data), START_S)
        now = budgets.at(START_S)
        return now.limit, now.source

    assert send("layers", 5) == (5, "/admn/budget/layers")
    assert send("milliseconds", math.nan) == (5, "/admn/budget/layers")
    assert send("withdraw", "nobody") == (5, "/admn/budget/layers")
    assert send("withdraw", "/admn/budget/layers") == (12, "operator")
    assert [line.split(": ", 1)[0].rpartition(" ")[2] for line in budgets.refusals] == [
        "/admn/budget/milliseconds", "nobody"]


def test_grants_of_a_governor_that_ran_are_no_requests():
    law = GovernedBudget(GovernorConfig(rise_layers_per_s=1e4, hysteresis_layers=0.0, default_layers=12), COSTS, "")
    law.at(START_S)
    law.on_message("/admn/budget", request(3, SOURCE), START_S)
    assert law.at(START_S + 1.0).limit == 12
    law.on_message("/admn/budget", request(3, "operator"), START_S + 1.0)
    assert law.at(START_S + 2.0).limit == 3
