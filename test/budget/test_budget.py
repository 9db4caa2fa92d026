# SPDX-License-Identifier: Apache-2.0
import math
import threading
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.budget.budget import Budget, BudgetBook
from admn_ros.deployment import BudgetConfig
from admn_ros.errors import InputError

DEFAULT = Budget(math.inf, "layers", "default")


def layers(limit: float, source: str) -> Budget:
    return Budget(limit, "layers", source)


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


def test_the_default_is_in_force_without_a_source():
    assert BudgetBook(DEFAULT).current(0.0) is DEFAULT


def test_the_highest_priority_wins_in_any_order_of_arrival():
    book = BudgetBook(DEFAULT)
    book.submit(layers(4, "thermal"), priority=2, valid_for_s=0, now_s=0)
    book.submit(layers(20, "operator"), priority=1, valid_for_s=0, now_s=1)
    assert book.current(2).source == "thermal"


def test_the_newest_of_equal_priorities_wins_even_at_the_same_time():
    book = BudgetBook(DEFAULT)
    for source in ("a", "b", "a"):
        book.submit(layers(1, source), priority=0, valid_for_s=0, now_s=5)
        assert book.current(5).source == source


def test_a_source_can_replace_its_budget_by_one_with_a_lower_priority():
    book = BudgetBook(DEFAULT)
    book.submit(layers(4, "battery"), priority=9, valid_for_s=0, now_s=0)
    book.submit(layers(8, "other"), priority=5, valid_for_s=0, now_s=0)
    book.submit(layers(6, "battery"), priority=1, valid_for_s=0, now_s=0)
    assert book.current(0).source == "other"


def test_a_budget_expires():
    book = BudgetBook(DEFAULT)
    book.submit(layers(20, "operator"), priority=0, valid_for_s=0, now_s=0)
    book.submit(layers(4, "thermal"), priority=1, valid_for_s=2.0, now_s=10)
    assert book.current(11.999).source == "thermal"
    assert book.current(12.0).source == "operator"


def test_a_validity_of_zero_never_expires():
    book = BudgetBook(DEFAULT)
    book.submit(layers(4, "x"), priority=0, valid_for_s=0, now_s=0)
    assert book.current(1e9).source == "x"


@pytest.mark.parametrize("valid_for_s", [-0.1, math.nan])
def test_a_refused_budget_changes_nothing(valid_for_s):
    book = BudgetBook(DEFAULT)
    book.submit(layers(4, "x"), priority=0, valid_for_s=0, now_s=0)
    with pytest.raises(InputError, match="valid_for_s"):
        book.submit(layers(9, "x"), priority=0, valid_for_s=valid_for_s, now_s=1)
    assert book.current(2).limit == 4


def test_more_than_the_largest_number_of_sources_are_refused_but_known_ones_can_change():
    book = BudgetBook(DEFAULT, max_sources=3)
    for i in range(3):
        book.submit(layers(i, f"s{i}"), priority=i, valid_for_s=0, now_s=0)
    with pytest.raises(InputError, match="at most 3 sources"):
        book.submit(layers(9, "s9"), priority=9, valid_for_s=0, now_s=0)
    book.submit(layers(7, "s2"), priority=2, valid_for_s=0, now_s=0)
    assert book.current(0).limit == 7


def test_expired_sources_do_not_count():
    book = BudgetBook(DEFAULT, max_sources=2)
    for i in range(50):
        book.submit(layers(i, f"s{i}"), priority=0, valid_for_s=1, now_s=float(i))
    assert book.current(49.5).source == "s49"


def test_a_time_that_is_not_finite_is_refused():
    with pytest.raises(InputError, match="now_s"):
        BudgetBook(DEFAULT).current(math.nan)


def test_one_thread_can_submit_while_others_read():
    book, limits, stop = BudgetBook(Budget(7, "layers")), set(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            limits.add(book.current(0.5).limit)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for k in range(3000):
        book.submit(Budget(k % 5, "layers", f"source {k % 40}"), k, 1.0, 0.0)
    stop.set()
    for reader in readers:
        reader.join()
    assert limits <= {0.0, 1.0, 2.0, 3.0, 4.0, 7.0}
