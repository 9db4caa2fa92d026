# SPDX-License-Identifier: Apache-2.0
"""Compute budget of a frame, and the choice between budgets of several sources."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

from admn_ros.config import BUDGET_UNITS, BudgetUnit
from admn_ros.deployment import BudgetConfig
from admn_ros.errors import InputError

CostUnit = Literal["layers", "gflops", "milliseconds", "joules"]
"""Units of cost tables. Watts are converted to joules per frame."""

MICRO: Final[dict[CostUnit, int]] = {
    "layers": 1,
    "gflops": 10**9,
    "milliseconds": 10**6,
    "joules": 10**6,
}
"""Micro-units per unit: layers, operations, nanoseconds, microjoules."""

MAX_SOURCES: Final = 64
"""Sources that can have a valid budget at the same time."""


def exact(value: float) -> Fraction:
    """Return the decimal number that a finite float prints as: 29/100 for 0.29.

    The conversion is monotonic: a fraction that is not above the result is not above `value` as a float either.
    """
    return Fraction(repr(float(value)))


@dataclass(frozen=True)
class Budget:
    """Limit of what one frame may spend, or in watts, of the mean power of all frames.

    Attributes:
        limit: limit in [0, inf]; inf allows everything the model has.
        unit: unit of the limit.
        source: name of the requester, for logs.

    Raises:
        InputError: the limit is NaN or negative, or the unit is unknown.
    """

    limit: float
    unit: BudgetUnit
    source: str = ""

    def __post_init__(self) -> None:
        # Callers may pass an int, which message fields refuse.
        object.__setattr__(self, "limit", float(self.limit))
        if self.unit not in BUDGET_UNITS:
            raise InputError("unit", self.unit, ", ".join(BUDGET_UNITS))
        if math.isnan(self.limit) or self.limit < 0:
            raise InputError("limit", self.limit, "a number in [0, inf]")

    @classmethod
    def of(cls, config: BudgetConfig, source: str = "default") -> Budget:
        """Return the default budget of a deployment."""
        return cls(math.inf if config.limit is None else config.limit, config.unit, source)

    def per_frame(self, frame_rate_hz: float | None = None) -> Budget:
        """Convert watts to joules per frame, rounded down to a microjoule; return other budgets unchanged.

        Args:
            frame_rate_hz: frame rate in Hz, used for budgets in watts.

        Raises:
            InputError: the unit is watts, and the rate is missing or not a positive number.
        """
        if self.unit != "watts":
            return self
        if frame_rate_hz is None or not math.isfinite(frame_rate_hz) or frame_rate_hz <= 0:
            raise InputError("frame_rate_hz", frame_rate_hz, "frame rate in Hz above 0, for a budget in watts")
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
    """Budgets of several sources, one per source.

    The valid budget with the highest priority is in force, the newest among equals. Without a valid budget, the
    default is in force. One thread may submit while others read.

    Args:
        default: budget in force while no source has one.
        max_sources: largest number of sources with a valid budget.
    """

    def __init__(self, default: Budget, max_sources: int = MAX_SOURCES) -> None:
        self.default = default
        self._max_sources = max_sources
        self._entries: dict[str, _Entry] = {}
        self._arrivals = 0

    def submit(self, budget: Budget, priority: int, valid_for_s: float, now_s: float) -> None:
        """Store the budget of a source, in place of its last one.

        Args:
            budget: budget, with its source.
            priority: rank among the sources; the highest wins.
            valid_for_s: validity in seconds from `now_s`; 0 until the source replaces the budget.
            now_s: time of a monotonic clock in seconds.

        Raises:
            InputError: the validity is negative or NaN, the time is not finite, or too many sources have a valid
                budget. All budgets stay as they are.
        """
        if math.isnan(valid_for_s) or valid_for_s < 0:
            raise InputError("valid_for_s", valid_for_s, "seconds in [0, inf]")
        _check_time(now_s)
        # Expired budgets are dropped, so that short-lived sources cannot use up `max_sources`.
        live = {source: e for source, e in self._entries.items() if now_s < e.expires_s}
        if budget.source not in live and len(live) >= self._max_sources:
            raise InputError("source", f"{budget.source!r} as source {len(live) + 1}",
                             f"at most {self._max_sources} sources with a valid budget")
        self._arrivals += 1
        expires_s = now_s + valid_for_s if valid_for_s > 0 else math.inf
        live[budget.source] = _Entry(budget, priority, expires_s, self._arrivals)
        self._entries = live  # in one assignment, and never changed afterwards: readers need no lock

    def current(self, now_s: float) -> Budget:
        """Return the budget in force at a time in seconds of the clock of `submit`."""
        return next(iter(self.valid(now_s)), self.default)

    def valid(self, now_s: float) -> list[Budget]:
        """Return all budgets that are valid at a time, the one in force first."""
        _check_time(now_s)
        live = (e for e in self._entries.values() if now_s < e.expires_s)
        return [e.budget for e in sorted(live, key=lambda e: (e.priority, e.arrival), reverse=True)]


def _check_time(now_s: float) -> None:
    if not math.isfinite(now_s):
        raise InputError("now_s", now_s, "a finite time in seconds")
