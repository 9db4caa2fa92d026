# SPDX-License-Identifier: Apache-2.0
"""Where a frame's budget comes from in an evaluation: a constant, a trace, or what was recorded."""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, get_args

from admn_ros.budget.budget import Budget, BudgetBook
from admn_ros.config import BudgetUnit
from admn_ros.errors import InputError
from admn_ros.recordings.bag_messages import BUDGET_UNITS, COMPUTE_BUDGET


class BudgetSource(Protocol):
    """One budget column of an evaluation. Times are seconds of the recording's clock, which never goes back."""

    @property
    def label(self) -> dict[str, Any]:
        """JSON that names it in the results."""
        ...

    @property
    def topics(self) -> dict[str, str]:
        """Message types by topic that it wants to hear of a recording; `*` for all topics of a type."""
        ...

    @property
    def known(self) -> Sequence[Budget]:
        """Those that are known beforehand, to be checked before anything runs."""
        ...

    def hear(self, topic: str, message: Any, now_s: float) -> None:
        """A recorded message.

        Raises:
            InputError: it cannot be used; the next one may be fine.
        """
        ...

    def at(self, now_s: float) -> Budget:
        """The budget in force."""
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

    @property
    def topics(self) -> dict[str, str]:
        """None."""
        return {}

    @property
    def known(self) -> Sequence[Budget]:
        """See `BudgetSource`."""
        return (self.at(0.0),)

    def hear(self, topic: str, message: Any, now_s: float) -> None:
        """Nothing changes it."""

    def at(self, now_s: float) -> Budget:
        """See `BudgetSource`."""
        return Budget(math.inf if self.limit is None else self.limit, self.unit, "evaluation")


class TracedBudget:
    """Limits over time from a CSV file: time_s since the start of the recording, limit, unit (default: layers).

    Before its first line the first limit holds.

    Raises:
        InputError: the file cannot be read, has no lines, times that go back, or values that are no budget.
    """

    def __init__(self, path: Path, start_s: float) -> None:
        self._name, self._start_s = path.name, start_s
        self._times: list[float] = []
        self._budgets: list[Budget] = []
        try:
            rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(), skipinitialspace=True))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(str(path), f"nothing that can be read ({error})", "a CSV file of limits") from error
        for number, row in enumerate(rows, start=2):
            self._add(f"{path}: line {number}", row)
        if not rows:
            raise InputError(str(path), "no limits", "lines of time_s,limit,unit under such a header")

    def _add(self, place: str, row: dict[str, str | None]) -> None:
        try:
            time_s, limit = float(row["time_s"] or ""), float(row["limit"] or "")
        except (KeyError, ValueError) as error:
            raise InputError(place, ",".join(map(str, row.values())), "numbers time_s and limit") from error
        unit = next((u for u in get_args(BudgetUnit) if u == (row.get("unit") or "layers").strip()), None)
        if unit is None:
            raise InputError(f"{place}: unit", row.get("unit"), ", ".join(get_args(BudgetUnit)))
        if not math.isfinite(time_s) or (self._times and time_s < self._times[-1]):
            raise InputError(f"{place}: time_s", time_s, "finite times that do not go back")
        self._times.append(time_s)
        self._budgets.append(Budget(limit, unit, f"trace {self._name}"))

    @property
    def label(self) -> dict[str, Any]:
        """See `BudgetSource`."""
        return {"from": f"trace {self._name}"}

    @property
    def topics(self) -> dict[str, str]:
        """None."""
        return {}

    @property
    def known(self) -> Sequence[Budget]:
        """See `BudgetSource`."""
        return self._budgets

    def hear(self, topic: str, message: Any, now_s: float) -> None:
        """Nothing changes it."""

    def at(self, now_s: float) -> Budget:
        """See `BudgetSource`."""
        return self._budgets[max(0, bisect_right(self._times, now_s - self._start_s) - 1)]


class RecordedBudgets:
    """Budgets that power managers published while it was recorded, as the node would have taken them.

    Args:
        topic: of `ComputeBudget`.
        default: in force while none is valid.
        check: raises InputError for a budget that the model has no costs for; the one in force then stays.
    """

    def __init__(self, topic: str, default: Budget, check: Callable[[Budget], None]) -> None:
        self._topic, self._default, self._check, self._book = topic, default, check, BudgetBook(default)

    @property
    def label(self) -> dict[str, Any]:
        """See `BudgetSource`."""
        return {"from": f"recorded {self._topic}"}

    @property
    def topics(self) -> dict[str, str]:
        """See `BudgetSource`."""
        return {self._topic: COMPUTE_BUDGET}

    @property
    def known(self) -> Sequence[Budget]:
        """See `BudgetSource`."""
        return (self._default,)

    def hear(self, topic: str, message: Any, now_s: float) -> None:
        """See `BudgetSource`."""
        budget, priority, valid_for_s = read_budget(message)
        self._check(budget)
        self._book.submit(budget, priority, valid_for_s, now_s)

    def at(self, now_s: float) -> Budget:
        """See `BudgetSource`."""
        return self._book.current(now_s)


def read_budget(message: Any) -> tuple[Budget, int, float]:
    """Budget, priority and validity in seconds (0: until replaced) of a recorded `ComputeBudget`.

    Raises:
        InputError: unknown unit, or a limit that is none.
    """
    if message.unit >= len(BUDGET_UNITS):
        raise InputError("budget.unit", message.unit, ", ".join(f"{i} {u}" for i, u in enumerate(BUDGET_UNITS)))
    valid_for_s = message.valid_for.sec + message.valid_for.nanosec * 1e-9
    return Budget(message.limit, BUDGET_UNITS[message.unit], message.source), int(message.priority), valid_for_s
