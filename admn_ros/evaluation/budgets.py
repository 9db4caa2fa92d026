# SPDX-License-Identifier: Apache-2.0
"""Where a frame's budget comes from in an evaluation: a constant, a trace, or what was recorded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from admn_ros.budget.budget import Budget
from admn_ros.config import BudgetUnit


class BudgetSource(Protocol):
    """One budget column of an evaluation."""

    @property
    def label(self) -> dict[str, Any]:
        """JSON that names it in the results."""
        ...

    def at(self, now_s: float) -> Budget:
        """The budget in force at a time, seconds, which never goes back."""
        ...


@dataclass(frozen=True)
class ConstantBudget:
    """The same limit for every frame; None for everything."""

    limit: float | None
    unit: BudgetUnit

    @property
    def label(self) -> dict[str, Any]:
        """See `BudgetSource`."""
        return {"limit": self.limit, "unit": self.unit}

    def at(self, now_s: float) -> Budget:
        """See `BudgetSource`."""
        return Budget(math.inf if self.limit is None else self.limit, self.unit, "evaluation")
