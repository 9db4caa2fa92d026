# SPDX-License-Identifier: Apache-2.0
"""Topics of power managers: requests in; the budget in force, useful ranges and refusals out."""

from __future__ import annotations

import math
from collections.abc import Callable

from builtin_interfaces.msg import Time
from rclpy.duration import Duration

from admn_ros.budget.budget import Budget
from admn_ros.budget.budget_book import BudgetBook, ValidBudget
from admn_ros.budget.compute_budget import BudgetRequest
from admn_ros.budget.refusals import Refusals
from admn_ros.config import BUDGET_UNITS
from admn_ros.errors import InputError
from admn_ros.model.costs import ModelCosts
from admn_ros.msg import BudgetRange, BudgetRefusal, BudgetState, ComputeBudget
from admn_ros.nodes import qos
from admn_ros.nodes.budget_input import BudgetInput
from admn_ros.nodes.managed_node import ManagedNode
from admn_ros.nodes.perception.first_costs import FirstCosts


class BudgetTopics:
    """Budgets of the perception node, with their topics.

    Args:
        node: node that subscribes and publishes.
        costs: costs of the model.
        default: budget in force while no request is valid.
        check: raises InputError for a budget without costs.
        rate_hz: returns the frame rate for budgets in watts.
        on_refused: receives each refused request, with its source in front of the field.
        first_costs: measures the costs that the first budget in their unit needs.

    Attributes:
        book: the budgets.
    """

    def __init__(self, node: ManagedNode, costs: ModelCosts, default: Budget, check: Callable[[Budget], None],
                 rate_hz: Callable[[], float], on_refused: Callable[[InputError], None],
                 first_costs: FirstCosts) -> None:
        self._node, self._costs, self._check = node, costs, check
        self._rate_hz, self._on_refused = rate_hz, on_refused
        self._refusals, self._published, self._first_costs = Refusals(), object(), first_costs
        self.book = BudgetBook(default, share=lambda budget: costs.share(budget, rate_hz()))
        self._state = node.endpoints.create_publisher(BudgetState, "~/budget_state", qos.STATE, managed=False)
        self._input = BudgetInput(node, node.endpoints, "~/budget", self._take, self._refuse, self._withdraw)
        self.publish()

    @property
    def current(self) -> Budget:
        """Budget in force."""
        return self.book.current(self._now_s())

    @property
    def contest(self) -> str:
        """Sources of equal priority that request different budgets; empty without any."""
        return self.book.contest(self._now_s())

    @property
    def refused(self) -> str:
        """Sources whose latest request was refused, with the reasons; empty without any."""
        return "; ".join(map(str, self._refusals.standing()))

    def poll(self) -> None:
        """Publish the state if it has changed without a message, as by a validity that ended. Call it periodically."""
        self._input.poll()
        self.publish(changed_only=True)

    def _now_s(self) -> float:
        return self._node.receive_clock.now_s()

    def _take(self, request: BudgetRequest, key: str) -> None:
        """Take a request, at once or when its costs are measured. It is valid from its arrival on."""
        arrived = self._now_s(), self._node.get_clock().now().nanoseconds
        self._first_costs.drop(key)
        if request.budget is not None:
            request = request._replace(budget=self._first_costs.usable(request.budget))
            if self._first_costs.wait_for(request.budget, key, lambda error: self._use(request, key, arrived, error)):
                return
        self._use(request, key, arrived)

    def _use(self, request: BudgetRequest, key: str, arrived: tuple[float, int],
             problem: InputError | None = None) -> None:
        if problem is not None:
            self._refuse(request.source, problem)
            return
        try:
            doubt = self.book.take(request, *arrived, key, self._check)
        except InputError as error:
            self._refuse(request.source, error)
            return
        if doubt is not None:
            self._refuse(request.source, doubt)
            return
        self._refusals.accept(request.source)
        self.publish(changed_only=True)

    def _withdraw(self, name: str) -> None:
        waited = self._first_costs.drop_named(name)
        if not self.book.withdraw_named(name) and not waited:
            sources = ", ".join(e.budget.source for e in self.book.valid(self._now_s()))
            self._refuse(name, InputError("withdraw", repr(name), sources or "no source: no request is valid"))
        self.publish(changed_only=True)

    def _refuse(self, source: str, error: InputError) -> None:
        new = self._refusals.add(source, error, self._now_s())
        self._on_refused(error.within(source))
        if new is not None:
            self._node.get_logger().error(f"budget request of {new} (logged once a minute)")
        self.publish(changed_only=True)

    # --- state --------------------------------------------------------------------------------------

    def publish(self, changed_only: bool = False) -> None:
        """Publish the state of the budgets.

        Args:
            changed_only: whether to publish only if a budget, a range or a source of refusals has changed.
        """
        now_s, valid = self._now_s(), self.book.valid(self._now_s())
        current, standing = self.book.current(now_s), self._refusals.standing()
        refused = tuple((r.source, r.reason) for r in standing)
        state = (current, self.book.default, tuple(valid), self._ranges(), refused)
        if changed_only and state == self._published:
            return
        self._published = state
        clock_ns = self._node.get_clock().now().nanoseconds
        message = BudgetState(
            in_force=self._message(self._in_force(current, valid), now_s), is_default=current == self.book.default,
            requests=[self._message(e, now_s) for e in valid],
            ranges=[BudgetRange(unit=unit, least=least, most=most) for unit, least, most in self._ranges()],
            refusals=[BudgetRefusal(source=r.source, reason=r.reason, count=r.count,
                                    stamp=_time(clock_ns - round((now_s - r.at_s) * 1e9))) for r in standing])
        message.header.stamp = _time(clock_ns)
        self._state.publish(message)

    def _in_force(self, current: Budget, valid: list[ValidBudget]) -> ValidBudget:
        """Return the budget in force with its validity."""
        return next((e for e in valid if e.budget == current), ValidBudget(current, 0, math.inf))

    def _message(self, entry: ValidBudget, now_s: float) -> ComputeBudget:
        message = ComputeBudget(limit=entry.budget.limit, unit=BUDGET_UNITS.index(entry.budget.unit),
                                priority=entry.priority, source=entry.budget.source)
        if math.isfinite(entry.expires_s):
            message.valid_for = Duration(seconds=max(entry.expires_s - now_s, 1e-9)).to_msg()
        return message

    def _ranges(self) -> tuple[tuple[int, float, float], ...]:
        """Return unit, cost of the cheapest frame and of everything, for each unit that requests can have."""
        found = {}
        for unit, least in self._costs.least.items():
            table = self._costs.table(unit)
            found[unit] = (least, table.amount(table.total(table.everything)))
        if "joules" in found:
            found["watts"] = (self._rate_hz() * found["joules"][0], self._rate_hz() * found["joules"][1])
        found |= dict.fromkeys(self._costs.unmeasured, (math.nan, math.nan))
        return tuple((k, *found[unit]) for k, unit in enumerate(BUDGET_UNITS) if unit in found)


def _time(stamp_ns: int) -> Time:
    return Time(sec=max(0, stamp_ns) // 10**9, nanosec=max(0, stamp_ns) % 10**9)
