# SPDX-License-Identifier: Apache-2.0
"""The governor node: requests of power managers, temperatures, battery and watts in; a budget out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.duration import Duration
from sensor_msgs.msg import BatteryState, Temperature
from std_msgs.msg import Float32

from admn_ros.budget.compute_budget import BudgetRequest
from admn_ros.budget.refusals import Refusals
from admn_ros.config import ModelConfig, load_config
from admn_ros.errors import ConfigError, InputError
from admn_ros.governor.governor import SOURCE, Governor, Grant
from admn_ros.governor.inputs import GovernorInputs
from admn_ros.model.costs import ModelCosts
from admn_ros.msg import ComputeBudget
from admn_ros.nodes import qos
from admn_ros.nodes.budget_input import BudgetInput
from admn_ros.nodes.governor.parameters import PARAMETERS, governor_config
from admn_ros.nodes.governor.status import grant_status
from admn_ros.nodes.managed_node import ManagedNode
from admn_ros.nodes.run_node import Program, run_node
from admn_ros.share import find_shipped


class GovernorNode(ManagedNode):
    """Lifecycle node around a governor.

    Inputs: ~/budget_request, temperature, battery_state, watts, /diagnostics. Outputs, while active: admn/budget for
    the perception node, and ~/status with the requested layers, the granted layers and the reason.

    A published budget is valid for `valid_for_s`. When this node is deactivated or dies, the perception node falls back
    to its own default after that time.
    """

    def __init__(self, name: str = "admn_governor", **kwargs: object) -> None:
        super().__init__(name, PARAMETERS, **kwargs)
        self._governor: Governor | None = None
        self._grant: Grant | None = None
        self._refusals = Refusals()
        self.autostart()

    # --- lifecycle ----------------------------------------------------------------------------------

    def configure(self) -> None:
        """Read the model's costs; create outputs and inputs."""
        config = governor_config(self.values())
        self._governor = Governor(config, self._costs())
        self._refusals = Refusals()
        self._inputs = GovernorInputs(self._governor, self._refuse)
        self._budget = self.endpoints.create_publisher(ComputeBudget, "admn/budget", qos.RESULT_OUT)
        self._status = self.endpoints.create_publisher(DiagnosticStatus, "~/status", qos.STATE)
        self._requests = BudgetInput(self, self.endpoints, "~/budget_request", self._request, self._refuse)
        for kind, topic, profile in ((Temperature, "temperature", qos.SENSOR_IN),
                                     (BatteryState, "battery_state", qos.SENSOR_IN),
                                     (Float32, "watts", qos.SENSOR_IN),
                                     (DiagnosticArray, "/diagnostics", qos.COMMAND_IN)):
            receive = partial(self._receive, self.resolve_topic_name(topic))
            self.endpoints.create_subscription(kind, topic, receive, profile)
        self.get_logger().info(f"configured: {self._governor.max_layers} layers, target {config.target_c:g} C")

    def activate(self) -> None:
        """Start to publish budgets."""
        self.start_timer("period_s", self._step)

    def deactivate(self) -> None:
        """Forget the last grant."""
        self._grant = None

    def cleanup(self) -> None:
        """Free the governor."""
        self._governor = None

    def _costs(self) -> ModelCosts | None:
        if not self.value("model"):
            return None
        folder = find_shipped(self.value("model"), "models")
        return ModelCosts.load(load_config(ModelConfig, folder / "config.yaml"), folder)

    # --- parameters ---------------------------------------------------------------------------------

    def check(self, values: Mapping[str, Any]) -> None:
        """Check the governor's configuration, and the validity of its budgets against their period."""
        governor_config(values)
        shortest_s = 2 * values["period_s"]
        if values["valid_for_s"] < shortest_s:
            raise ConfigError("valid_for_s", values["valid_for_s"], f"at least two periods, {shortest_s:g}")

    def apply(self) -> None:
        """Adopt the governor's configuration."""
        self._governor.reconfigure(governor_config(self.values()))

    # --- inputs and outputs -------------------------------------------------------------------------

    def _receive(self, topic: str, message: object) -> None:
        self._inputs.take(topic, message, self.receive_clock.now_s(), self.get_clock().now().nanoseconds)

    def _request(self, request: BudgetRequest, key: str) -> None:
        self._inputs.request(request, self.receive_clock.now_s(), self.get_clock().now().nanoseconds, key)

    def _refuse(self, source: str, error: InputError) -> None:
        new = self._refusals.add(source, error, self.receive_clock.now_s())
        if new is not None:
            self.get_logger().warning(f"ignored (repetitions are only counted for a minute): {new}")

    def _step(self) -> None:
        self._grant = self._governor.step(self.receive_clock.now_s())
        message = ComputeBudget(
            unit=ComputeBudget.UNIT_LAYERS, limit=float(self._grant.granted), priority=self.value("priority"),
            source=SOURCE, valid_for=Duration(seconds=self.value("valid_for_s")).to_msg())
        message.header.stamp = self.get_clock().now().to_msg()
        self._budget.publish(message)
        self._status.publish(self._grant_status())

    def _grant_status(self) -> DiagnosticStatus:
        return grant_status(self.get_fully_qualified_name(), self._grant, self._refusals, self.receive_clock.now_s())

    def statuses(self, mismatches: Mapping[str, str]) -> list[DiagnosticStatus]:
        """Return the status of the grant."""
        self._requests.poll()
        return [self._grant_status()]


def main(args: list[str] | None = None) -> int:
    """Run the node: `ros2 run admn_ros governor`."""
    return run_node(GovernorNode, Program("governor", __doc__, PARAMETERS), args)


if __name__ == "__main__":
    sys.exit(main())
