# SPDX-License-Identifier: Apache-2.0
"""A power manager: publish a compute budget that follows the battery.

    python examples/power_manager.py --ros-args -r budget:=/admn/budget -r budget_state:=/admn/budget_state \\
        -p seconds:=10.0

Here the battery is simulated and empties in `seconds`. A real power manager reads the charge from its hardware; the
rest stays the same.
"""

from __future__ import annotations

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from admn_ros.msg import BudgetState, ComputeBudget

SOURCE = "battery"
FULL_LAYERS = 4.0
PERIOD_S = 0.5


class PowerManager(Node):
    """Publish a budget twice a second; each one is valid for two seconds.

    The validity matters: when this node dies, perception falls back to its own default budget.
    """

    def __init__(self) -> None:
        super().__init__("power_manager")
        self._seconds = self.declare_parameter("seconds", 10.0).value
        # Transient local: a perception node that starts later still gets the last budget.
        qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._budget = self.create_publisher(ComputeBudget, "budget", qos)
        self._charge = 1.0
        # Feedback: which budget is in force, and whose requests are refused.
        self.create_subscription(BudgetState, "budget_state", self._on_state, qos)
        self.create_timer(PERIOD_S, self._publish)

    def _on_state(self, state: BudgetState) -> None:
        for refusal in state.refusals:
            if refusal.source == SOURCE:
                self.get_logger().warning(f"refused: {refusal.reason}")

    def _publish(self) -> None:
        message = ComputeBudget(unit=ComputeBudget.UNIT_LAYERS, priority=1, source=SOURCE)
        message.header.stamp = self.get_clock().now().to_msg()
        # A limit of 0 stops perception. Send at least 1 to keep an estimate.
        message.limit = float(round(FULL_LAYERS * self._charge))
        message.valid_for.sec = 2
        self._budget.publish(message)
        self.get_logger().info(f"battery {self._charge:.0%}, budget {message.limit:.0f} layers")
        self._charge = max(0.0, self._charge - PERIOD_S / self._seconds)


def main() -> None:
    """Run until Ctrl-C."""
    rclpy.init()
    try:
        rclpy.spin(PowerManager())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
