# SPDX-License-Identifier: Apache-2.0
"""Budgets of several sources, and which of them is in force."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from admn_ros.budget.budget import MAX_SOURCES, Budget
from admn_ros.budget.compute_budget import BudgetRequest, remaining
from admn_ros.errors import InputError


def no_share(budget: Budget) -> Fraction:
    """Refuse to compare budgets in several units, because there is no model."""
    raise InputError("unit", budget.unit, "one unit for all requests")


@dataclass(frozen=True)
class ValidBudget:
    """Budget of a source that has not expired.

    Attributes:
        budget: the budget.
        priority: rank among the sources.
        expires_s: end of its validity, in seconds of a monotonic clock; inf for no end.
        doubtful: whether its age is unknown. It may then lower the budget in force, but not raise it.
    """

    budget: Budget
    priority: int
    expires_s: float
    doubtful: bool = False


class BudgetBook:
    """Budgets of several sources, one per source.

    The valid budget with the highest priority is in force, the lowest among equals. Without a valid budget, the default
    is in force. One thread may submit while others read.

    Budgets in one unit are compared by their limits, those in several units by the share of the model that they buy.

    Args:
        default: budget in force while no source has one.
        max_sources: largest number of sources with a valid budget.
        share: returns the share of the model that a budget buys, exactly; see `LayerCosts.share`. A budget for which
            it raises InputError counts as the lowest.
    """

    def __init__(self, default: Budget, max_sources: int = MAX_SOURCES,
                 share: Callable[[Budget], Fraction] = no_share) -> None:
        self.default = default
        self._max_sources, self._share = max_sources, share
        self._entries: dict[str, ValidBudget] = {}

    def take(self, request: BudgetRequest, now_s: float, clock_ns: int, key: str | None = None,
             check: Callable[[Budget], None] = lambda budget: None) -> InputError | None:
        """Take a request: submit its budget, or withdraw that of its source.

        Args:
            request: the request.
            now_s: time of a monotonic clock in seconds.
            clock_ns: time now of the clock that stamps refer to, in nanoseconds.
            key: identity of the source; None is its name.
            check: raises InputError for a budget that cannot be used.

        Returns:
            Why the request is doubtful; None if it is not.

        Raises:
            InputError: the request cannot be used or has expired. All budgets stay as they are.
        """
        key = request.source if key is None else key
        if request.budget is None:
            self.withdraw(key)
            return None
        check(request.budget)
        validity = remaining(request, clock_ns)
        self.submit(request.budget, request.priority, validity.seconds, now_s, key, validity.doubt is not None)
        return validity.doubt

    def submit(self, budget: Budget, priority: int, valid_for_s: float, now_s: float, key: str | None = None,
               doubtful: bool = False) -> None:
        """Store the budget of a source, in place of its last one.

        Args:
            budget: budget, with its source.
            priority: rank among the sources; the highest wins.
            valid_for_s: validity in seconds from `now_s`; 0 until the source replaces the budget.
            now_s: time of a monotonic clock in seconds.
            key: identity of the source; None is its name.
            doubtful: whether the age is unknown, so that the budget must not raise the one in force.

        Raises:
            InputError: the validity is negative or NaN, the time is not finite, or too many sources have a valid
                budget. All budgets stay as they are.
        """
        key = budget.source if key is None else key
        if math.isnan(valid_for_s) or valid_for_s < 0:
            raise InputError("valid_for_s", valid_for_s, "seconds in [0, inf]")
        _check_time(now_s)
        # Expired budgets are dropped, so that short-lived sources cannot use up `max_sources`.
        live = {source: e for source, e in self._entries.items() if now_s < e.expires_s}
        if key not in live and len(live) >= self._max_sources:
            raise InputError("source", f"{budget.source!r} as source {len(live) + 1}",
                             f"at most {self._max_sources} sources with a valid budget")
        expires_s = now_s + valid_for_s if valid_for_s > 0 else math.inf
        live[key] = ValidBudget(budget, priority, expires_s, doubtful)
        self._entries = live  # in one assignment, and never changed afterwards: readers need no lock

    def withdraw(self, key: str) -> None:
        """Remove the budget of a source. Without one nothing changes, so a withdrawal may be repeated."""
        self._entries = {other: e for other, e in self._entries.items() if other != key}

    def withdraw_named(self, name: str) -> bool:
        """Remove the budgets of all sources of a name, and return whether there was any."""
        kept = {key: e for key, e in self._entries.items() if e.budget.source != name}
        found = len(kept) < len(self._entries)
        self._entries = kept
        return found

    def current(self, now_s: float) -> Budget:
        """Return the budget in force at a time in seconds of the clock of `submit`."""
        valid = self.valid(now_s)
        best = self._lowest(_equals(valid))
        if any(e.doubtful for e in _equals(valid)):
            return self._lowest([best, self._lowest(_equals([e for e in valid if not e.doubtful]))])
        return best

    def valid(self, now_s: float) -> list[ValidBudget]:
        """Return all valid budgets: those of highest priority first, of equals in one unit the lowest first."""
        _check_time(now_s)
        live = (e for e in self._entries.values() if now_s < e.expires_s)
        return sorted(live, key=lambda e: (-e.priority, e.budget.unit, e.budget.limit, e.budget.source))

    def contest(self, now_s: float) -> str:
        """Describe the sources of the highest priority if they request different budgets; else return ''."""
        equals = _equals(self.valid(now_s))
        if len({(e.budget.limit, e.budget.unit) for e in equals}) < 2:
            return ""
        return f"equal priority {equals[0].priority}: " + ", ".join(f"{e.budget.source} {e.budget}" for e in equals)

    def _lowest(self, budgets: Sequence[ValidBudget | Budget]) -> Budget:
        """Return the lowest of some budgets; the default if there are none."""
        found = [b.budget if isinstance(b, ValidBudget) else b for b in budgets]
        in_one_unit = len({b.unit for b in found}) < 2
        return min(found, key=lambda b: b.limit if in_one_unit else self._rank(b), default=self.default)

    def _rank(self, budget: Budget) -> Fraction | float:
        try:
            return self._share(budget)
        except InputError:
            return -math.inf


def _equals(valid: Sequence[ValidBudget]) -> list[ValidBudget]:
    """Return the budgets of the highest priority."""
    return [e for e in valid if e.priority == valid[0].priority]


def _check_time(now_s: float) -> None:
    if not math.isfinite(now_s):
        raise InputError("now_s", now_s, "a finite time in seconds")
