# SPDX-License-Identifier: Apache-2.0
"""A compute budget for one frame, and the book that decides which of several budgets holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

from admn_ros.config import BUDGET_UNITS, BudgetUnit
from admn_ros.deployment import BudgetConfig
from admn_ros.errors import InputError

CostUnit = Literal["layers", "gflops", "milliseconds", "joules"]
"""Units in which the cost of a frame can be counted. Watts become joules per frame first."""

MICRO: Final[dict[CostUnit, int]] = {
    "layers": 1,
    "gflops": 10**9,
    "milliseconds": 10**6,
    "joules": 10**6,
}
"""Micro-units in one unit: whole layers, single operations, nanoseconds, microjoules."""

MAX_SOURCES: Final = 64


def exact(value: float) -> Fraction:
    """The decimal number that a finite float prints as, so that 0.29 means 29/100.

    Rounding is monotonic: what is not above it as a fraction is not above it as a float either.
    """
    return Fraction(repr(float(value)))


@dataclass(frozen=True)
class Budget:
    """How much one frame may spend (watts: how much power the frames of a second may draw).

    limit: range [0, inf]; inf means everything the model has.
    source: who asks, for people and logs.

    Raises:
        InputError: the limit is NaN or negative, or the unit is unknown.
    """

    limit: float
    unit: BudgetUnit
    source: str = ""

    def __post_init__(self) -> None:
        # Messages take only a float where a caller may write 5.
        object.__setattr__(self, "limit", float(self.limit))
        if self.unit not in BUDGET_UNITS:
            raise InputError("unit", self.unit, ", ".join(BUDGET_UNITS))
        if math.isnan(self.limit) or self.limit < 0:
            raise InputError("limit", self.limit, "a number in [0, inf]")

    @classmethod
    def of(cls, config: BudgetConfig, source: str = "default") -> Budget:
        """The default budget of a deployment; a null limit means everything."""
        return cls(math.inf if config.limit is None else config.limit, config.unit, source)

    def per_frame(self, frame_rate_hz: float | None = None) -> Budget:
        """The same budget in a unit that a frame can spend: watts become joules per frame.

        The joules are rounded down to a whole microjoule. Other units return as they are.

        Args:
            frame_rate_hz: frames per second, above 0; only read for watts.

        Raises:
            InputError: the unit is watts and the rate is absent or not a positive number.
        """
        if self.unit != "watts":
            return self
        if frame_rate_hz is None or not math.isfinite(frame_rate_hz) or frame_rate_hz <= 0:
            raise InputError("frame_rate_hz", frame_rate_hz, "frames per second above 0, for a budget in watts")
        if math.isinf(self.limit):
            return Budget(math.inf, "joules", self.source)
        micro = math.floor(exact(self.limit) / exact(frame_rate_hz) * MICRO["joules"])
        return Budget(float(Fraction(micro, MICRO["joules"])), "joules", self.source)


@dataclass(frozen=True)
class _Entry:
    budget: Budget
    priority: int
    expires_s: float
    arrival: int


class BudgetBook:
    """One budget per source; the highest priority that is still valid is in force.

    Of equal priorities the newest wins. Without any, the default holds. One thread may submit while others read.

    Args:
        default: the budget in force while no source has one.
        max_sources: how many sources can hold a budget at the same time.
    """

    def __init__(self, default: Budget, max_sources: int = MAX_SOURCES) -> None:
        self.default = default
        self._max_sources = max_sources
        self._entries: dict[str, _Entry] = {}
        self._arrivals = 0

    def submit(self, budget: Budget, priority: int, valid_for_s: float, now_s: float) -> None:
        """Put the budget of a source in force, in place of its last one.

        Args:
            budget: what is asked; `budget.source` is who asks.
            priority: higher wins.
            valid_for_s: seconds it holds from `now_s` on; 0 means until the source replaces it.
            now_s: time of a clock that does not jump, seconds.

        Raises:
            InputError: the validity is negative or NaN, the time is not finite, or too many sources
                hold a budget. The budgets in force stay.
        """
        if math.isnan(valid_for_s) or valid_for_s < 0:
            raise InputError("valid_for_s", valid_for_s, "seconds in [0, inf]")
        _check_time(now_s)
        # Expired budgets make room, so that sources which come and go cannot fill the book.
        live = {source: e for source, e in self._entries.items() if now_s < e.expires_s}
        if budget.source not in live and len(live) >= self._max_sources:
            raise InputError("source", f"{budget.source!r} as source {len(live) + 1}",
                             f"at most {self._max_sources} sources with a valid budget")
        self._arrivals += 1
        expires_s = now_s + valid_for_s if valid_for_s > 0 else math.inf
        live[budget.source] = _Entry(budget, priority, expires_s, self._arrivals)
        self._entries = live  # in one assignment, and never changed afterwards: readers need no lock

    def current(self, now_s: float) -> Budget:
        """The budget in force at a time (seconds, the clock of `submit`)."""
        return next(iter(self.valid(now_s)), self.default)

    def valid(self, now_s: float) -> list[Budget]:
        """All budgets that are valid at a time, the one in force first."""
        _check_time(now_s)
        live = (e for e in self._entries.values() if now_s < e.expires_s)
        return [e.budget for e in sorted(live, key=lambda e: (e.priority, e.arrival), reverse=True)]


def _check_time(now_s: float) -> None:
    if not math.isfinite(now_s):
        raise InputError("now_s", now_s, "a finite time in seconds")
