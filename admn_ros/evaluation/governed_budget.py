# SPDX-License-Identifier: Apache-2.0
"""Budget of the governor on the recorded temperatures, battery states, power and requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from admn_ros.budget.budget import Budget
from admn_ros.budget.refusals import Refusals
from admn_ros.errors import InputError
from admn_ros.governor.config import GovernorConfig
from admn_ros.governor.governor import SOURCE, Governor
from admn_ros.governor.inputs import GovernorInputs
from admn_ros.model.costs import ModelCosts
from admn_ros.recordings.bag_messages import COMPUTE_BUDGET, TEMPERATURE

PERIOD_S = 0.2
"""Period of the governor in seconds, the node's default."""
BATTERY = "sensor_msgs/msg/BatteryState"
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
WATTS = "std_msgs/msg/Float32"


class GovernedBudget:
    """Budget that the governor would have granted during the recording.

    Inputs are all Temperature, BatteryState, DiagnosticArray and ComputeBudget messages of the recording, and Float32
    on watts, in any namespace. Grants of a governor that ran during the recording are left out: they are no requests.
    The loop is open: recorded temperatures do not depend on the granted budget.

    Args:
        config: parameters of the governor.
        costs: costs of the model.
        name: name of the parameter file, for the results.
    """

    def __init__(self, config: GovernorConfig, costs: ModelCosts, name: str) -> None:
        self._governor, self._name = Governor(config, costs), name
        self._refusals, self._now_s = Refusals(), 0.0
        self._inputs = GovernorInputs(self._governor, self._refuse)
        self._next_s: float | None = None
        self._grant: Budget | None = None

    @property
    def label(self) -> dict[str, Any]:
        """See `BudgetSource`."""
        return {"from": f"governor {self._name}".strip()}

    @property
    def topics(self) -> dict[str, str]:
        """See `BudgetSource`."""
        return {f"*{kind}": kind for kind in (TEMPERATURE, BATTERY, DIAGNOSTICS, COMPUTE_BUDGET)} | {"*/watts": WATTS}

    @property
    def known(self) -> Sequence[Budget]:
        """Empty: grants are in layers, which every model has costs for."""
        return ()

    @property
    def refusals(self) -> Sequence[str]:
        """See `BudgetSource`."""
        return self._refusals.lines

    def on_message(self, topic: str, message: Any, now_s: float) -> None:
        """See `BudgetSource`."""
        self.at(now_s)
        self._now_s = now_s
        if getattr(message, "source", "") == SOURCE:
            return
        self._inputs.take(topic, message, now_s, round(now_s * 1e9))

    def at(self, now_s: float) -> Budget:
        """See `BudgetSource`."""
        if self._next_s is None:
            self._next_s = now_s
        while self._grant is None or self._next_s <= now_s:
            self._grant = self._governor.step(self._next_s).budget(SOURCE)
            self._next_s += PERIOD_S
        return self._grant

    def _refuse(self, source: str, error: InputError) -> None:
        self._refusals.add(source, error, self._now_s)
