# SPDX-License-Identifier: Apache-2.0
"""The governor node: power managers, temperatures, a battery and watts in; the perception's budget out."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.timer import Timer
from sensor_msgs.msg import BatteryState, Temperature
from std_msgs.msg import Float32

from admn_ros.config import ModelConfig, load_config
from admn_ros.errors import ConfigError, InputError
from admn_ros.governor.battery import Battery
from admn_ros.governor.diagnostics_parser import read_status
from admn_ros.governor.governor import Governor, Grant
from admn_ros.model.costs import ModelCosts
from admn_ros.msg import ComputeBudget
from admn_ros.nodes import parameters, qos
from admn_ros.nodes.budget_input import BudgetInput
from admn_ros.nodes.diagnostics import connections_status
from admn_ros.nodes.endpoints import Endpoints
from admn_ros.nodes.governor.parameters import PARAMETERS, law_config
from admn_ros.nodes.lifecycle import RobustLifecycleNode, logged
from admn_ros.nodes.middleware import resolve, run_node
from admn_ros.nodes.receive_clock import ReceiveClock

SUCCESS = TransitionCallbackReturn.SUCCESS
SOURCE = "governor"
CHARGING = {BatteryState.POWER_SUPPLY_STATUS_CHARGING, BatteryState.POWER_SUPPLY_STATUS_FULL}
MAX_CAUSES = 100  # kinds of refusal that are logged


class GovernorNode(RobustLifecycleNode):
    """Lifecycle: configure makes the law, the outputs and the inputs; activate publishes a budget every period.

    Inputs: ~/budget_request, temperature, battery_state, watts, /diagnostics. Outputs: admn/budget for the
    perception node, ~/status (requested, granted, reason), /diagnostics.

    Its budgets hold for `valid_for_s`. When it is deactivated or dies, the perception node goes back to its own
    default after that.
    """

    def __init__(self, name: str = "admn_governor", **kwargs: object) -> None:
        super().__init__(name, **kwargs)
        parameters.declare(self, PARAMETERS)
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._apply_parameters)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._ports = Endpoints(self)
        self._arrival = ReceiveClock(self)
        self._governor: Governor | None = None
        self._step_timer: Timer | None = None
        self._grant: Grant | None = None
        self._refused = 0
        self._last_refusal = ""
        self._logged_causes: set[str] = set()
        if self._value("autostart") and self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    # --- lifecycle ---------------------------------------------------------------------------------

    @logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check the parameters, read the model's costs, create outputs and inputs."""
        config = law_config(self)
        self._check_validity({})
        self._governor = Governor(config, self._costs())
        self._grant, self._refused, self._last_refusal = None, 0, ""
        self._logged_causes.clear()
        self._output = self._ports.publish(ComputeBudget, "admn/budget", qos.RESULT_OUT)
        self._status = self._ports.publish(DiagnosticStatus, "~/status", qos.STATE)
        self._diagnostics = self._ports.publish(DiagnosticArray, "/diagnostics", qos.RESULT_OUT, managed=False)
        self._requests = BudgetInput(self, self._ports, "~/budget_request", self._on_request, self._refuse)
        self._inputs = [
            self._ports.subscribe(Temperature, "temperature", self._on_temperature, qos.SENSOR_IN),
            self._ports.subscribe(BatteryState, "battery_state", self._on_battery, qos.SENSOR_IN),
            self._ports.subscribe(Float32, "watts", self._on_watts, qos.SENSOR_IN),
            self._ports.subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.COMMAND_IN),
        ]
        self._diagnostics_timer = self._create_steady_timer("diagnostics_period_s", self._publish_diagnostics)
        self.get_logger().info(f"configured: {self._governor.max_layers} layers, target {config.target_c:g} C")
        return SUCCESS

    @logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to publish budgets."""
        self._step_timer = self._create_steady_timer("period_s", self._step)
        return super().on_activate(state)

    @logged
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop to publish budgets."""
        self._stop()
        return super().on_deactivate(state)

    @logged
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything that configure made."""
        self._release()
        return super().on_cleanup(state)

    @logged
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free, from any state."""
        self._stop()
        self._release()
        return super().on_shutdown(state)

    def _costs(self) -> ModelCosts | None:
        if not self._value("model"):
            return None
        folder = resolve(self._value("model"), "models")
        return ModelCosts.load(load_config(ModelConfig, folder / "config.yaml"), folder)

    def _create_steady_timer(self, parameter: str, callback: Callable[[], None]) -> Timer:
        return self.create_timer(self._value(parameter), callback, clock=self._steady)

    def _stop(self) -> None:
        if self._step_timer is not None:
            self.destroy_timer(self._step_timer)
            self._step_timer = None

    def _release(self) -> None:
        if self._governor is None:
            return
        self._governor = None
        self.destroy_timer(self._diagnostics_timer)
        self._requests.destroy()
        while self._inputs:
            self._ports.destroy(self._inputs.pop())
        for publisher in (self._output, self._status, self._diagnostics):
            self._ports.destroy(publisher)

    # --- parameters --------------------------------------------------------------------------------

    def _value(self, name: str) -> object:
        return self.get_parameter(name).value

    def _check_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        unconfigured = self.state_label == "unconfigured"
        wrong = next(filter(None, (parameters.problem(p, unconfigured, PARAMETERS) for p in changes)), None)
        if wrong:
            return SetParametersResult(successful=False, reason=str(ConfigError(*wrong)))
        try:
            if not unconfigured:  # before, values may come one by one
                values = {p.name: p.value for p in changes}
                law_config(self, values)
                self._check_validity(values)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _check_validity(self, changes: dict[str, object]) -> None:
        valid_for_s, period_s = changes.get("valid_for_s", self._value("valid_for_s")), self._value("period_s")
        if valid_for_s < 2 * period_s:
            raise ConfigError("valid_for_s", valid_for_s, f"at least two periods, {2 * period_s:g}")

    def _apply_parameters(self, changes: list[Parameter]) -> None:
        if self._governor is not None:
            self._governor.reconfigure(law_config(self))

    # --- inputs ------------------------------------------------------------------------------------

    def _on_request(self, budget: object, priority: int, valid_for_s: float) -> None:
        self._governor.request(budget, priority, valid_for_s, self._arrival.now_s())

    def _on_temperature(self, message: Temperature) -> None:
        self._take(self._governor.temperature, message.header.frame_id or "temperature", message.temperature)

    def _on_battery(self, message: BatteryState) -> None:
        try:
            battery = Battery(message.percentage, message.power_supply_status in CHARGING)
        except InputError as error:
            self._refuse(error)
            return
        self._take(self._governor.battery, message.header.frame_id or "battery", battery)

    def _on_watts(self, message: Float32) -> None:
        self._take(self._governor.watts, "watts", message.data)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            found = read_status(status.name, status.message, [(v.key, v.value) for v in status.values])
            for name, celsius in found.temperatures_c.items():
                self._take(self._governor.temperature, name, celsius)
            for name, watts in found.watts.items():
                self._take(self._governor.watts, name, watts)
            for name in found.offline:
                self._governor.temperature_off(name)
            for error in found.refused:
                self._refuse(error)

    def _take(self, put: Callable[[str, object, float], None], name: str, value: object) -> None:
        try:
            put(name, value, self._arrival.now_s())
        except InputError as error:
            self._refuse(error)

    def _refuse(self, error: InputError) -> None:
        self._refused += 1
        self._last_refusal = str(error)
        if error.field not in self._logged_causes and len(self._logged_causes) < MAX_CAUSES:
            self._logged_causes.add(error.field)
            self.get_logger().warning(f"ignored (further ones of this kind are only counted): {error}")

    # --- outputs -----------------------------------------------------------------------------------

    def _step(self) -> None:
        self._grant = self._governor.step(self._arrival.now_s())
        message = ComputeBudget(
            unit=ComputeBudget.UNIT_LAYERS, limit=float(self._grant.granted), priority=self._value("priority"),
            source=SOURCE, valid_for=Duration(seconds=self._value("valid_for_s")).to_msg())
        message.header.stamp = self.get_clock().now().to_msg()
        self._output.publish(message)
        self._status.publish(self._status_message())

    def _status_message(self) -> DiagnosticStatus:
        """Requested, granted, and why."""
        name, grant = self.get_fully_qualified_name(), self._grant
        status = DiagnosticStatus(name=f"{name}: grant", hardware_id=name)
        if self._step_timer is None or grant is None:
            status.level, status.message = DiagnosticStatus.STALE, "not active"
            return status
        problems = [*grant.problems, *([f"{self._refused} inputs ignored, last: {self._last_refusal}"]
                                       if self._refused else [])]
        status.level = DiagnosticStatus.WARN if problems else DiagnosticStatus.OK
        status.message = "; ".join([f"{grant.granted} of {grant.requested} layers ({grant.reason.value}): {grant.text}",
                                    *problems])
        # No key may read like a temperature or power: this status comes back to us on /diagnostics.
        values = {"requested": grant.requested, "granted": grant.granted, "reason": grant.reason.value,
                  "text": grant.text, "ignored": self._refused, "last_ignored": self._last_refusal,
                  "hottest_c": _text(grant.temperature_c), "others_w": _text(grant.others_w)}
        values["limits"] = "; ".join(
            f"{c.layers:.1f} {c.reason.value} ({c.text})" for c in grant.caps if math.isfinite(c.layers))
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        return status

    def _publish_diagnostics(self) -> None:
        self._requests.follow_latched()
        message = DiagnosticArray(status=[
            self._status_message(), connections_status(self.get_fully_qualified_name(), self._ports.mismatches())])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def _text(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run admn_ros governor`."""
    return run_node(GovernorNode, args)


if __name__ == "__main__":
    sys.exit(main())
