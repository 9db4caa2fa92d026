# SPDX-License-Identifier: Apache-2.0
"""Budgets of an evaluation: constant, from a trace file, or as recorded."""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, get_args

from admn_ros.budget.budget import Budget
from admn_ros.budget.budget_book import BudgetBook
from admn_ros.budget.compute_budget import PLAIN_TYPES, WITHDRAW_TYPE, BudgetRequest, read_budget, source_name
from admn_ros.budget.refusals import Refusals
from admn_ros.config import BudgetUnit
from admn_ros.errors import InputError
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.files import MAX_JSON, read_text
from admn_ros.recordings.bag_messages import COMPUTE_BUDGET


class BudgetSource(Protocol):
    """Budget of each frame over time. Times are seconds of the recording's clock and never decrease."""

    @property
    def label(self) -> dict[str, Any]:
        """JSON values that identify the budget in the results."""
        ...

    @property
    def topics(self) -> dict[str, str]:
        """Message types by topic that the budget follows; `*TYPE` means all topics of a type, and
        `*/watts` those of that name in any namespace."""
        ...

    @property
    def known(self) -> Sequence[Budget]:
        """Budgets that are known in advance, so that their units can be checked before a run."""
        ...

    @property
    def refusals(self) -> Sequence[str]:
        """Recorded messages that could not be used: one line for each of their sources."""
        ...

    def on_message(self, topic: str, message: Any, now_s: float) -> None:
        """Take a recorded message; one that cannot be used is added to `refusals`."""
        ...

    def at(self, now_s: float) -> Budget:
        """Return the budget in force."""
        ...


@dataclass(frozen=True)
class ConstantBudget:
    """Constant limit.

    Attributes:
        limit: limit in `unit`; None for no limit.
        unit: unit of the limit.
    """

    limit: float | None
    unit: BudgetUnit

    @property
    def label(self) -> dict[str, Any]:
        """See `BudgetSource`."""
        return {"limit": self.limit, "unit": self.unit}

    @property
    def topics(self) -> dict[str, str]:
        """No topics."""
        return {}

    @property
    def known(self) -> Sequence[Budget]:
        """See `BudgetSource`."""
        return (self.at(0.0),)

    @property
    def refusals(self) -> Sequence[str]:
        """Empty: no message is used."""
        return ()

    def on_message(self, topic: str, message: Any, now_s: float) -> None:
        """Ignore the message."""

    def at(self, now_s: float) -> Budget:
        """See `BudgetSource`."""
        return Budget(math.inf if self.limit is None else self.limit, self.unit, "evaluation")


def constant_budgets(plan: EvaluationPlan) -> list[BudgetSource]:
    """Return the constant budgets of a plan."""
    return [ConstantBudget(limit, plan.unit) for limit in plan.budgets]


class TracedBudget:
    """Limits over time from a CSV file. The first limit also holds before its time.

    Args:
        path: CSV file with the columns time_s (seconds since the start of the recording), limit, and unit (default:
            layers).
        start_s: start of the recording, in seconds.

    Raises:
        InputError: the file cannot be read, has no rows, decreasing times, or values that are not budgets.
    """

    def __init__(self, path: Path, start_s: float) -> None:
        self._name, self._start_s = path.name, start_s
        self._times: list[float] = []
        self._budgets: list[Budget] = []
        text = read_text(path, "a CSV file of limits", MAX_JSON)
        try:
            rows = list(csv.DictReader(text.splitlines(), skipinitialspace=True))
        except csv.Error as error:
            raise InputError(str(path), f"an unreadable file ({error})", "a CSV file of limits") from error
        for number, row in enumerate(rows, start=2):
            self._add(f"{path}: line {number}", row)
        if not rows:
            raise InputError(str(path), "no limits", "rows of time_s,limit,unit below that header")

    def _add(self, place: str, row: dict[str, str | None]) -> None:
        try:
            time_s, limit = float(row["time_s"] or ""), float(row["limit"] or "")
        except (KeyError, ValueError) as error:
            raise InputError(place, ",".join(map(str, row.values())), "numbers time_s and limit") from error
        unit = next((u for u in get_args(BudgetUnit) if u == (row.get("unit") or "layers").strip()), None)
        if unit is None:
            raise InputError(f"{place}: unit", row.get("unit"), ", ".join(get_args(BudgetUnit)))
        if not math.isfinite(time_s) or (self._times and time_s < self._times[-1]):
            raise InputError(f"{place}: time_s", time_s, "finite times that do not decrease")
        self._times.append(time_s)
        self._budgets.append(Budget(limit, unit, f"trace {self._name}"))

    @property
    def label(self) -> dict[str, Any]:
        """See `BudgetSource`."""
        return {"from": f"trace {self._name}"}

    @property
    def topics(self) -> dict[str, str]:
        """No topics."""
        return {}

    @property
    def known(self) -> Sequence[Budget]:
        """See `BudgetSource`."""
        return self._budgets

    @property
    def refusals(self) -> Sequence[str]:
        """Empty: no message is used."""
        return ()

    def on_message(self, topic: str, message: Any, now_s: float) -> None:
        """Ignore the message."""

    def at(self, now_s: float) -> Budget:
        """See `BudgetSource`."""
        return self._budgets[max(0, bisect_right(self._times, now_s - self._start_s) - 1)]


class RecordedBudgets:
    """Budgets that power managers published in the recording, handled as in the node.

    Args:
        topic: topic of `ComputeBudget` messages. Bare numbers and withdrawals by name are read from those below it; a
            recording does not name their publishers, so the source of a bare number is its topic.
        default: budget in force while no request is valid.
        check: function that raises InputError for a budget in a unit without costs; such a request is ignored.
        share: returns the share of the model that a budget buys; see `BudgetBook`.
    """

    def __init__(self, topic: str, default: Budget, check: Callable[[Budget], None],
                 share: Callable[[Budget], Fraction]) -> None:
        self._topic, self._default, self._check, self._book = topic, default, check, BudgetBook(default, share=share)
        self._refusals = Refusals()

    @property
    def label(self) -> dict[str, Any]:
        """See `BudgetSource`."""
        return {"from": f"recorded {self._topic}"}

    @property
    def topics(self) -> dict[str, str]:
        """See `BudgetSource`."""
        plain = {f"{self._topic}/{unit}": kind for unit, kind in PLAIN_TYPES.items()}
        return {self._topic: COMPUTE_BUDGET, **plain, f"{self._topic}/withdraw": WITHDRAW_TYPE}

    @property
    def known(self) -> Sequence[Budget]:
        """See `BudgetSource`."""
        return (self._default,)

    @property
    def refusals(self) -> Sequence[str]:
        """See `BudgetSource`."""
        return self._refusals.lines

    def on_message(self, topic: str, message: Any, now_s: float) -> None:
        """See `BudgetSource`."""
        below = topic.removeprefix(f"{self._topic}/")
        if below == "withdraw":
            self._withdraw(source_name(message.data), now_s)
            return
        source = topic if below in PLAIN_TYPES else source_name(message.source)
        try:
            problem = self._book.take(self._read(below, source, message), now_s, round(now_s * 1e9), check=self._check)
        except InputError as error:
            problem = error
        if problem is not None:
            self._refusals.add(source or topic, problem, now_s)

    def _read(self, below: str, source: str, message: Any) -> BudgetRequest:
        unit = next((unit for unit in PLAIN_TYPES if unit == below), None)
        return read_budget(message) if unit is None else BudgetRequest(source, Budget(message.data, unit, source))

    def _withdraw(self, name: str, now_s: float) -> None:
        if not self._book.withdraw_named(name):
            known = ", ".join(entry.budget.source for entry in self._book.valid(now_s))
            problem = InputError("withdraw", repr(name), known or "no source: no request is valid")
            self._refusals.add(name, problem, now_s)

    def at(self, now_s: float) -> Budget:
        """See `BudgetSource`."""
        return self._book.current(now_s)
