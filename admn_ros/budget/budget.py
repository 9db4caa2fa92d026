# SPDX-License-Identifier: Apache-2.0
"""Compute budget of a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
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
"""Sources of budgets, or of one kind of measurement, that are kept at the same time."""


@lru_cache(maxsize=64)
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

    def __str__(self) -> str:
        return f"{self.limit:g} {self.unit}"

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
