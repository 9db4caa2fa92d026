# SPDX-License-Identifier: Apache-2.0
"""Base of the lifecycle nodes: parameters, timers, endpoints, diagnostics, and transitions that cannot crash."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.timer import Timer

from admn_ros.errors import InputError
from admn_ros.nodes import qos
from admn_ros.nodes.endpoints import Endpoints
from admn_ros.nodes.parameters import (
    DIAGNOSTICS_PERIOD,
    Spec,
    accept_whole_numbers,
    declare,
    refusal,
    warn_of_unknown,
)
from admn_ros.nodes.receive_clock import ReceiveClock
from admn_ros.nodes.status import clock_status, connections_status

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
DIAGNOSTICS = DIAGNOSTICS_PERIOD.name
Transition = Callable[["ManagedNode", LifecycleState], TransitionCallbackReturn]


def logged(step: Transition) -> Transition:
    """Wrap a transition callback: an exception is logged in one line, and the transition fails."""

    def run(self: ManagedNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return step(self, state)
        except Exception as error:
            if self.context.ok():  # otherwise Ctrl-C interrupted the callback: nothing failed
                text = str(error) or repr(error)
                self.get_logger().error(f"{step.__name__}: {text}")
            return FAILURE

    return run


class ManagedNode(LifecycleNode):
    """Lifecycle node with parameters from one table, steady timers, endpoints and diagnostics.

    Subclasses implement `configure`, `activate`, `deactivate`, `cleanup`, `statuses`, and where they need to `check`
    and `apply`. They call `autostart` at the end of their constructor. A step that raises makes its transition fail;
    what it created so far is released.

    rclpy raises in the executor on a transition that the current state does not have (ros2/rclpy issue 1209), which
    ends the process, and drops exceptions of the callbacks. Here the former is refused with a warning and the latter
    are logged.

    Args:
        name: name of the node.
        specs: parameters of the node, `AUTOSTART` and `DIAGNOSTICS_PERIOD` among them.
        kwargs: arguments of `rclpy.lifecycle.LifecycleNode`.

    Attributes:
        endpoints: publishers and subscriptions of the node. All are removed on cleanup.
        receive_clock: clock of arriving messages.
        exit_code: exit code of the program of the node; 1 if `autostart` failed.
    """

    def __init__(self, name: str, specs: Sequence[Spec], **kwargs: object) -> None:
        super().__init__(name, **kwargs)
        self.exit_code = 0
        self.endpoints, self.receive_clock = Endpoints(self), ReceiveClock(self)
        self._specs, self._configured, self._clock_warned = specs, False, False
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._periodic: dict[str, Timer] = {}
        accept_whole_numbers(self)
        declare(self, specs)
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._apply_parameters)

    def autostart(self) -> None:
        """Configure and activate if the parameter `autostart` is set.

        If that fails, the program of the node ends with `exit_code`: no lifecycle manager is there to try again.
        """
        if not self.value("autostart"):
            self.get_logger().info(
                f"unconfigured: waiting for configure and activate, from a lifecycle manager or `ros2 lifecycle set "
                f"{self.get_fully_qualified_name()} configure`; `-p autostart:=true` does both at start-up")
        elif not (self.trigger_configure() == SUCCESS and self.trigger_activate() == SUCCESS):
            self.exit_code = 1

    # --- hooks of subclasses ------------------------------------------------------------------------

    def configure(self) -> None:
        """Load files and create endpoints."""
        raise NotImplementedError

    def activate(self) -> None:
        """Start to work."""
        raise NotImplementedError

    def deactivate(self) -> None:
        """Stop to work. Called in any state, after `activate` failed too."""
        raise NotImplementedError

    def cleanup(self) -> None:
        """Release what `configure` created, except endpoints. Called in any state, after `configure` failed too."""
        raise NotImplementedError

    def check(self, values: Mapping[str, Any]) -> None:
        """Check parameters against each other, before `configure` and before a change while configured.

        Args:
            values: all parameters of the node, with the change applied.

        Raises:
            InputError: the values do not fit together.
        """

    def apply(self) -> None:
        """Adopt changed parameters while configured."""

    def statuses(self, mismatches: Mapping[str, str]) -> list[DiagnosticStatus]:
        """Return the statuses to publish on /diagnostics.

        Args:
            mismatches: QoS mismatches by topic; see `Endpoints.check_graph`.
        """
        raise NotImplementedError

    def clock_problems(self) -> list[str]:
        """Return what is wrong with the clock of this node, or with stamps against it, one line each."""
        problem = self.receive_clock.problem
        return [problem] if problem else []

    # --- services for subclasses --------------------------------------------------------------------

    @property
    def state_label(self) -> str:
        """Label of the current lifecycle state."""
        return str(self._state_machine.current_state[1])

    def value(self, name: str) -> Any:
        """Return the value of a parameter."""
        return self.get_parameter(name).value

    def values(self, changes: Iterable[Parameter] = ()) -> dict[str, Any]:
        """Return all parameters by name, with the given changes applied."""
        changed = {p.name: p.value for p in changes}
        return {s.name: changed.get(s.name, self.value(s.name)) for s in self._specs}

    def start_timer(self, parameter: str, callback: Callable[[], None]) -> None:
        """Call a function periodically, until deactivation or cleanup.

        The timer follows real time: waiting times and diagnostics do not stop with /clock.

        Args:
            parameter: name of the parameter that holds the period, in seconds. A change takes effect at once.
            callback: function to call.
        """
        self._periodic[parameter] = self.create_timer(self.value(parameter), callback, clock=self._steady)

    # --- lifecycle ----------------------------------------------------------------------------------

    @logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check parameters, then configure."""
        for spec in self._specs:
            error = refusal(self.get_parameter(spec.name), self._specs, unconfigured=True)
            if error is not None:
                raise error
        self.check(self.values())
        try:
            self.configure()
            self._diagnostics = self.endpoints.create_publisher(DiagnosticArray, "/diagnostics", qos.RESULT_OUT,
                                                                managed=False)
            self.start_timer(DIAGNOSTICS, self._publish_diagnostics)
        except Exception:
            self._release()
            raise
        self._configured = True
        warn_of_unknown(self)
        # What exists now stays. Without this the garbage collector traverses all of it again and again.
        gc.collect()
        gc.freeze()
        return SUCCESS

    @logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activate; on failure deactivate again."""
        try:
            self.activate()
            result = super().on_activate(state)
        except Exception:
            self._stop()
            raise
        self.get_logger().info("active")
        return result

    @logged
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate."""
        self._stop()
        self.get_logger().info("inactive: waiting for activate or cleanup")
        return super().on_deactivate(state)

    @logged
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Clean up."""
        self._release()
        return super().on_cleanup(state)

    @logged
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate and clean up, from any state."""
        self._stop()
        self._release()
        return super().on_shutdown(state)

    def destroy_node(self) -> None:
        """Deactivate, then destroy the node."""
        self._stop()
        super().destroy_node()
        gc.unfreeze()  # a frozen node would never be collected, and its lifecycle services live until it is

    def _LifecycleNodeMixin__change_state(self, transition_id: int) -> TransitionCallbackReturn:  # noqa: N802
        # Private name of the mixin: its services and trigger_*() both call this.
        possible = {t[0]: t[1] for t in self._state_machine.available_transitions}
        if transition_id not in possible:
            self.get_logger().warning(
                f"transition: found {transition_id}; allowed in state '{self.state_label}': "
                f"{', '.join(sorted(possible.values())) or 'none'}")
            return FAILURE
        return super()._LifecycleNodeMixin__change_state(transition_id)

    def _stop(self) -> None:
        for parameter in [p for p in self._periodic if p != DIAGNOSTICS]:
            self.destroy_timer(self._periodic.pop(parameter))
        self.deactivate()

    def _release(self) -> None:
        self._configured = False
        if DIAGNOSTICS in self._periodic:
            self.destroy_timer(self._periodic.pop(DIAGNOSTICS))
        self.cleanup()
        self.endpoints.close()
        gc.unfreeze()

    # --- parameters and diagnostics -----------------------------------------------------------------

    def _check_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        unconfigured = self.state_label == "unconfigured"
        found = [refusal(change, self._specs, unconfigured) for change in changes]
        errors: list[InputError] = [error for error in found if error is not None]
        if not errors and self._configured:  # before, values may arrive one by one
            try:
                self.check(self.values(changes))
            except InputError as error:
                errors.append(error)
        return SetParametersResult(successful=not errors, reason="; ".join(map(str, errors)))

    def _apply_parameters(self, changes: list[Parameter]) -> None:
        for change in changes:
            timer = self._periodic.get(change.name)
            if timer is not None:
                timer.timer_period_ns = round(change.value * 1e9)
                timer.reset()
        if self._configured:
            self.apply()

    def _publish_diagnostics(self) -> None:
        name, mismatches = self.get_fully_qualified_name(), self.endpoints.check_graph()
        problems = self.clock_problems()
        if problems and not self._clock_warned:
            self.get_logger().warning("; ".join(problems))
        self._clock_warned = bool(problems)
        message = DiagnosticArray(status=[*self.statuses(mismatches), connections_status(name, mismatches),
                                          clock_status(name, problems)])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)
