# SPDX-License-Identifier: Apache-2.0
"""Which of several budgets is in force."""

from __future__ import annotations

import itertools
import math
import threading
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admn_ros.budget.budget import Budget
from admn_ros.budget.budget_book import BudgetBook
from admn_ros.budget.compute_budget import BudgetRequest
from admn_ros.errors import InputError
from admn_ros.model.costs import ModelCosts
from helpers import models

DEFAULT = Budget(math.inf, "layers", "default")


def layers(limit: float, source: str) -> Budget:
    return Budget(limit, "layers", source)


def test_the_default_is_in_force_without_a_source():
    assert BudgetBook(DEFAULT).current(0.0) is DEFAULT


def test_the_highest_priority_wins_in_any_order_of_arrival():
    book = BudgetBook(DEFAULT)
    book.submit(layers(4, "thermal"), priority=2, valid_for_s=0, now_s=0)
    book.submit(layers(20, "operator"), priority=1, valid_for_s=0, now_s=1)
    assert book.current(2).source == "thermal"


def test_the_lowest_of_equal_priorities_wins_in_any_order_of_arrival():
    requests = [layers(6, "battery"), layers(40, "operator"), layers(12, "thermal")]
    for order in itertools.permutations(requests):
        book = BudgetBook(DEFAULT)
        for budget in order:
            book.submit(budget, priority=0, valid_for_s=0, now_s=5)
        for budget in order:  # each goes on as power managers do
            book.submit(budget, priority=0, valid_for_s=0, now_s=6)
            assert book.current(6) == layers(6, "battery")
        assert book.contest(6) == "equal priority 0: battery 6 layers, thermal 12 layers, operator 40 layers"


def test_there_is_no_contest_of_equal_budgets_nor_of_other_priorities():
    book = BudgetBook(DEFAULT)
    book.submit(layers(6, "a"), priority=1, valid_for_s=0, now_s=0)
    book.submit(layers(6, "b"), priority=1, valid_for_s=0, now_s=0)
    book.submit(layers(3, "c"), priority=0, valid_for_s=0, now_s=0)
    assert book.contest(0) == "" and book.current(0).limit == 6


COSTS = ModelCosts(models.four_modalities())
GFLOPS = COSTS.table("gflops")


def comparing() -> BudgetBook:
    return BudgetBook(DEFAULT, share=lambda budget: COSTS.share(budget, 15.0))


@given(st.integers(0, 20), st.floats(0, 1.2 * GFLOPS.amount(GFLOPS.total(GFLOPS.everything))))
def test_of_equals_in_two_units_the_one_that_buys_less_wins(count: int, gflops: float):
    """Both ways: whoever asks first, and whatever the limits are as numbers."""
    for order in (1, -1):
        book = comparing()
        for budget in [layers(count, "a"), Budget(gflops, "gflops", "b")][::order]:
            book.submit(budget, priority=0, valid_for_s=0, now_s=0)
        least, total = GFLOPS.least(GFLOPS.everything), GFLOPS.total(GFLOPS.everything)
        by_gflops = Fraction(min(total, math.floor(Fraction(repr(gflops)) * 10**9)) - least, total - least)
        by_layers = Fraction(min(count, 16) - 1, 15)
        assert book.current(0).source == ("b" if by_gflops <= by_layers else "a")


def test_no_limit_in_another_unit_never_wins_among_equals():
    book = comparing()
    book.submit(layers(15, "a"), priority=0, valid_for_s=0, now_s=0)
    book.submit(Budget(math.inf, "gflops", "b"), priority=0, valid_for_s=0, now_s=0)
    assert book.current(0).source == "a"


def test_a_unit_without_costs_counts_as_the_lowest():
    book = comparing()
    book.submit(layers(15, "a"), priority=0, valid_for_s=0, now_s=0)
    book.submit(Budget(9, "joules", "b"), priority=0, valid_for_s=0, now_s=0)
    assert book.current(0).source == "b"


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


# --- requests ---------------------------------------------------------------------------------------

CLOCK_NS = 1_700_000_000 * 10**9


def request(limit: float | None, source: str = "battery", valid_for_s: float = 5.0,
            age_s: float | None = None) -> BudgetRequest:
    stamp_ns = 0 if age_s is None else CLOCK_NS - round(age_s * 1e9)
    return BudgetRequest(source, None if limit is None else layers(limit, source), 0, valid_for_s, stamp_ns)


@pytest.mark.parametrize(("age_s", "left_s"), [(None, 5.0), (0.0, 5.0), (-0.9, 5.0), (3.0, 2.0), (4.99, 0.01)])
def test_the_validity_counts_from_the_stamp(age_s: float | None, left_s: float):
    book = BudgetBook(DEFAULT)
    assert book.take(request(4, age_s=age_s), 100.0, CLOCK_NS) is None
    assert book.current(100.0 + left_s - 0.005).limit == 4
    assert book.current(100.0 + left_s + 0.005) is DEFAULT


@pytest.mark.parametrize("age_s", [5.0, 15.0, 3600.0, 80_000.0])
def test_a_request_that_has_expired_is_refused_with_its_age(age_s: float):
    book = BudgetBook(DEFAULT)
    with pytest.raises(InputError, match=rf"stamp: found a request that is {age_s:.1f} s old; allowed: younger than"):
        book.take(request(4, age_s=age_s), 100.0, CLOCK_NS)
    assert book.current(100.0) is DEFAULT


def test_a_request_without_an_end_has_no_age():
    book = BudgetBook(DEFAULT)
    for age_s in (-3600.0, 15.0, 1e9):
        assert book.take(request(4, valid_for_s=0.0, age_s=age_s), 0.0, CLOCK_NS) is None
    assert book.current(1e6).limit == 4


@pytest.mark.parametrize("age_s", [-1.5, -37.0, -1.6e9, 90_000.0, 1.6e9])
def test_a_stamp_of_another_clock_may_lower_the_budget_but_not_raise_it(age_s: float):
    default = layers(10, "default")
    book = BudgetBook(default)
    doubt = book.take(request(20, age_s=age_s), 0.0, CLOCK_NS)
    assert "the clock of this node; allowed: the same clock (use_sim_time of both nodes)" in str(doubt)
    assert book.current(0.0) is default
    book.take(request(4, "thermal", age_s=age_s), 0.0, CLOCK_NS)
    assert book.current(0.0).source == "thermal"
    assert book.current(5.0) is default
    # Beside a request of known age, too.
    book.take(request(7, "operator", age_s=0.0), 6.0, CLOCK_NS)
    book.take(request(8, "thermal", age_s=age_s), 6.0, CLOCK_NS)
    assert book.current(6.0).source == "operator"
    book.take(request(8, "thermal", age_s=0.0), 6.0, CLOCK_NS)
    book.take(request(30, "operator", age_s=age_s), 6.0, CLOCK_NS)
    assert book.current(6.0).source == "thermal"


def test_a_request_is_withdrawn_by_its_source_alone_and_again():
    book = BudgetBook(DEFAULT)
    book.take(request(4, "battery", 0.0), 0.0, CLOCK_NS)
    book.take(request(9, "operator", 0.0), 0.0, CLOCK_NS)
    for _ in range(2):
        assert book.take(request(None, "battery"), 1.0, CLOCK_NS) is None
        assert book.current(1.0).source == "operator"
    assert book.withdraw_named("operator") and not book.withdraw_named("operator")
    assert book.current(1.0) is DEFAULT


def test_a_check_that_fails_changes_nothing():
    def check(budget: Budget) -> None:
        raise InputError("unit", "watts", "layers")

    book = BudgetBook(DEFAULT)
    with pytest.raises(InputError, match="found watts"):
        book.take(request(4), 0.0, CLOCK_NS, check=check)
    assert book.current(0.0) is DEFAULT
    book.take(request(None), 0.0, CLOCK_NS, check=check)


def test_two_publishers_of_one_name_are_kept_apart_by_their_key():
    book = BudgetBook(DEFAULT)
    book.take(request(4, "/a or /b"), 0.0, CLOCK_NS, key="#0")
    book.take(request(9, "/a or /b"), 0.0, CLOCK_NS, key="#1")
    assert book.current(0.0).limit == 4
    book.take(request(None, "/a"), 0.0, CLOCK_NS, key="#0")
    assert book.current(0.0).limit == 9
