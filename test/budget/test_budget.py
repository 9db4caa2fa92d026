# SPDX-License-Identifier: Apache-2.0
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.budget.budget import Budget
from admn_ros.deployment import BudgetConfig
from admn_ros.errors import InputError


@pytest.mark.parametrize("limit", [math.nan, -1.0, -math.inf])
def test_an_invalid_limit_is_refused(limit):
    with pytest.raises(InputError, match="limit"):
        Budget(limit, "layers")


def test_zero_and_infinity_are_budgets():
    assert Budget(0, "gflops").limit == 0
    assert isinstance(Budget(0, "gflops").limit, float)
    assert Budget(math.inf, "joules").limit == math.inf


def test_an_unknown_unit_is_refused():
    with pytest.raises(InputError, match="horsepower"):
        Budget(1, "horsepower")


def test_default_budget_of_a_deployment():
    assert Budget.of(BudgetConfig()).limit == math.inf
    assert Budget.of(BudgetConfig(limit=3.0, unit="gflops")) == Budget(3.0, "gflops", "default")


def test_watts_become_joules_per_frame():
    assert Budget(5, "watts", "battery").per_frame(10) == Budget(0.5, "joules", "battery")
    assert Budget(math.inf, "watts").per_frame(10).limit == math.inf


@pytest.mark.parametrize("rate", [None, 0.0, -5.0, math.nan, math.inf])
def test_watts_require_a_frame_rate(rate):
    with pytest.raises(InputError, match="frame_rate_hz"):
        Budget(5, "watts").per_frame(rate)


def test_other_units_ignore_the_frame_rate():
    budget = Budget(7, "milliseconds")
    assert budget.per_frame() is budget


@settings(deadline=None)
@given(st.floats(0, 1e6), st.floats(1e-3, 1e3))
def test_joules_per_frame_never_exceed_the_power(watts, rate):
    joules = Budget(watts, "watts").per_frame(rate).limit
    exact = Fraction(repr(watts)) / Fraction(repr(rate))
    assert Fraction(repr(joules)) <= exact
    assert exact - Fraction(repr(joules)) < Fraction(1, 10**6) + exact / 10**15
