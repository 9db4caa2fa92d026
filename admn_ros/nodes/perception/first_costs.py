# SPDX-License-Identifier: Apache-2.0
"""Measurement of the costs in milliseconds for the first budget in that unit, beside the node's other work."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import replace

from admn_ros.budget.budget import Budget
from admn_ros.errors import AdmnError, InputError
from admn_ros.inference.health.output_health import describe
from admn_ros.model.costs import ModelCosts
from admn_ros.nodes.managed_node import ManagedNode

JOIN_S = 2.0
Resume = Callable[[InputError | None], None]
"""Called once the costs are known, or with an error if they could not be measured."""


class FirstCosts:
    """Budgets that wait until the costs in their unit are measured. All methods are called on the executor's thread.

    The measurement takes seconds, so it runs on a thread of its own. Until it is done the budget in force stays. That
    is safe: nothing is spent that was not allowed before.

    Args:
        node: node whose executor calls back.
        costs: costs of the model.
    """

    def __init__(self, node: ManagedNode, costs: ModelCosts) -> None:
        self._node, self._costs = node, costs
        self._waiting: dict[str, tuple[Budget, Resume]] = {}
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._done = node.create_guard_condition(self._resume)

    @property
    def pending(self) -> str:
        """Budgets that wait; empty if there are none."""
        waiting = ", ".join(describe(budget) for budget, _ in self._waiting.values())
        return f"{waiting}: waits for the measurement of costs; until then the budget in force stays" if waiting else ""

    def usable(self, budget: Budget) -> Budget:
        """Return a budget of nothing or of everything, which needs no costs, in layers, and other budgets unchanged."""
        if budget.unit in self._costs.unmeasured and (budget.limit == 0.0 or math.isinf(budget.limit)):
            return replace(budget, unit="layers")
        return budget

    def wait_for(self, budget: Budget, source: str, resume: Resume) -> bool:
        """Measure if the costs in the unit of a budget are not known yet.

        Args:
            budget: budget that `usable` returned.
            source: identity of its source. Of each source only the latest budget waits.
            resume: called on the executor's thread when the measurement has ended.

        Returns:
            Whether the budget has to wait; if not, `resume` is not called.
        """
        self.drop(source)
        if budget.unit not in self._costs.unmeasured:
            return False
        self._waiting[source] = budget, resume
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._measure, args=(budget.unit,), name="costs", daemon=True)
            self._thread.start()
        return True

    def drop(self, source: str) -> None:
        """Forget the budget of a source that waits, if there is one."""
        self._waiting.pop(source, None)

    def drop_named(self, name: str) -> bool:
        """Forget the budgets that wait of all sources of a name, and return whether there was any."""
        found = [source for source, (budget, _) in self._waiting.items() if budget.source == name]
        for source in found:
            self.drop(source)
        return bool(found)

    def close(self) -> None:
        """Forget what waits, and wait for the thread, whose measurement ends when the engine is closed."""
        self._waiting.clear()
        if self._thread is not None:
            self._thread.join(JOIN_S)
        self._node.destroy_guard_condition(self._done)

    def _measure(self, unit: str) -> None:
        self._error = None
        try:
            self._costs.table(unit)
        except Exception as error:
            self._error = error
        if self._waiting:
            self._done.trigger()

    def _resume(self) -> None:
        waiting, self._waiting = self._waiting, {}
        error, self._thread = self._error, None
        why = str(error) if isinstance(error, AdmnError) else repr(error)
        for budget, resume in waiting.values():
            resume(None if error is None else InputError(
                "unit", f"{budget.unit}, whose costs could not be measured ({why})", ", ".join(self._costs.units)))
