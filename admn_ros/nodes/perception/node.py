# SPDX-License-Identifier: Apache-2.0
"""The perception node: sensor topics and a budget in; pose, class and layer allocation out."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.timer import Timer
from std_msgs.msg import Float32

from admn_ros.budget.budget import Budget, BudgetBook
from admn_ros.config import load_config
from admn_ros.deployment import DeploymentConfig
from admn_ros.errors import AdmnError, ConfigError, InputError
from admn_ros.inference.latest_only_queue import LatestOnlyQueue
from admn_ros.inference.pipeline import Pipeline
from admn_ros.msg import Classification, LayerAllocation
from admn_ros.nodes import parameters, qos
from admn_ros.nodes.budget_input import BudgetInput
from admn_ros.nodes.conversions import (
    allocation_message,
    classification_message,
    failed_message,
    pose_message,
)
from admn_ros.nodes.diagnostics import Connections, FrameLog, diagnostics_message
from admn_ros.nodes.endpoints import Endpoints
from admn_ros.nodes.lifecycle import RobustLifecycleNode, logged
from admn_ros.nodes.middleware import resolve, run_node
from admn_ros.nodes.perception.approximate_time import make_synchronizer
from admn_ros.nodes.perception.sensor_subscriptions import SensorSubscriptions, message_class
from admn_ros.nodes.perception.sync_parameters import SyncParameters
from admn_ros.nodes.perception.visualization import Views
from admn_ros.nodes.receive_clock import ReceiveClock
from admn_ros.sample import SensorFrame

SUCCESS = TransitionCallbackReturn.SUCCESS
SWITCH_S = 0.0005
"""After so long a thread gives the interpreter to one that waits. The network takes it for an instant a thousand times
a frame, and with Python's own 5 ms it waits longer for the thread that receives messages."""


@dataclass(frozen=True)
class Work:
    """A frame on its way to the network. arrived_s: when its newest input came (monotonic)."""

    frame: SensorFrame
    arrived_s: float


class PerceptionNode(RobustLifecycleNode):
    """Lifecycle: configure loads the model and subscribes to the budget; activate subscribes to the
    sensors and starts the worker; deactivate and cleanup undo exactly that.

    Callbacks only decode headers and store views; the network runs on a worker thread that takes the
    newest frame. Published on ~/: pose, classification, allocation, latency, what `Views` adds; and /diagnostics.
    """

    def __init__(self, name: str = "admn", **kwargs: object) -> None:
        super().__init__(name, **kwargs)
        parameters.declare(self)
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._apply_parameters)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._ports = Endpoints(self)
        self._pipeline: Pipeline | None = None
        self._deployment: DeploymentConfig | None = None
        self._worker: LatestOnlyQueue[Work] | None = None
        self._budget_lock = threading.Lock()
        self._budgets = BudgetBook(Budget(float("inf"), "layers"))
        self._log = FrameLog()
        self._logged_failures: set[str] = set()
        self._intake: SensorSubscriptions | None = None
        self._views: Views | None = None
        self._paced: dict[str, Timer] = {}
        self._frame_stamps: deque[int] = deque(maxlen=16)
        self._arrival = ReceiveClock(self)
        if self._value("autostart") and self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    # --- lifecycle ---------------------------------------------------------------------------------

    @logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and the deployment; create the outputs and the budget input."""
        if not self._value("model"):
            raise ConfigError("model", "nothing", "a model folder, or untrained:gdtm-tiny to try topics and budgets")
        self._deployment = load_config(DeploymentConfig, resolve(self._value("sensors"), "config", ".yaml"))
        wrong = [text for text in (parameters.problem(p, True) for p in self._all_parameters()) if text]
        if wrong:
            raise ConfigError(*wrong[0])
        budgets = BudgetBook(self._default_budget())
        for key, entry in self._deployment.inputs.items():
            message_class(key, entry)
        pipeline = Pipeline.load(
            self._value("model"), self._deployment, self._value("device"), self._value("threads"), make_synchronizer)
        pipeline.check_budget(budgets.default, self._value("frame_rate_hz"))
        pipeline.engine.warm_up()
        self._sync = SyncParameters(
            self, self._deployment.sync, (k.modality for k in pipeline.frames.inputs), pipeline.frames.retune)
        self._pipeline, self._budgets, self._log = pipeline, budgets, FrameLog()
        config = pipeline.engine.config
        if pipeline.engine.costs_warning:
            self.get_logger().warning(pipeline.engine.costs_warning)
        if not config.trained:
            self.get_logger().warning(f"model '{config.name}' is UNTRAINED (random weights): estimates mean nothing")
        self._pose = self._ports.publish(PoseWithCovarianceStamped, "~/pose", qos.RESULT_OUT)
        self._classification = self._ports.publish(Classification, "~/classification", qos.RESULT_OUT)
        self._allocation = self._ports.publish(LayerAllocation, "~/allocation", qos.RESULT_OUT)
        self._age = self._ports.publish(Float32, "~/latency", qos.RESULT_OUT)
        self._diagnostics = self._ports.publish(DiagnosticArray, "/diagnostics", qos.RESULT_OUT, managed=False)
        self._views = Views(self, self._ports, pipeline)
        self._budget_input = BudgetInput(self, self._ports, "~/budget", self._take_budget, self._refuse_budget)
        self._create_steady_timer("diagnostics_period_s", self._publish_diagnostics)
        # What stands now stays: the garbage collector would go through all of it again and again, a long pause each.
        gc.collect()
        gc.freeze()
        self.get_logger().info(
            f"configured: model '{config.name}' on {pipeline.engine.device}, {config.layers_total} layers, "
            f"{len(pipeline.frames.inputs)} inputs")
        return SUCCESS

    @logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker, then the sensor subscriptions."""
        assert self._pipeline is not None
        self._pipeline.frames.restart()
        self._frame_stamps.clear()
        self._views.start()
        self._worker = LatestOnlyQueue(self._process, self._failed)
        try:
            self._intake = SensorSubscriptions(self, self._ports, self._pipeline, self._arrival, self._deliver)
            self._create_steady_timer("poll_period_s", self._intake.poll)
            return super().on_activate(state)
        except Exception:
            self._stop_sensing()
            raise

    @logged
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening, finish the frame in work, stop publishing."""
        self._stop_sensing()
        return super().on_deactivate(state)

    @logged
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and everything that configure made."""
        self._release()
        return super().on_cleanup(state)

    @logged
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free, from any state."""
        self._stop_sensing()
        self._release()
        return super().on_shutdown(state)

    def destroy_node(self) -> None:
        """End the worker before ROS goes away under it."""
        self._stop_sensing()
        super().destroy_node()
        gc.unfreeze()  # a frozen node would never be collected, and its lifecycle services stay until it is

    def _create_steady_timer(self, parameter: str, callback: Callable[[], None]) -> None:
        """A timer that goes on when /clock stands still: waits and diagnostics are about real time."""
        self._paced[parameter] = self.create_timer(self._value(parameter), callback, clock=self._steady)

    def _end_timer(self, parameter: str) -> None:
        if parameter in self._paced:
            self.destroy_timer(self._paced.pop(parameter))

    def _stop_sensing(self) -> None:
        self._end_timer("poll_period_s")
        if self._intake is not None:
            self._intake.close()
            self._intake = None
        worker, self._worker = self._worker, None
        if worker is not None and not worker.stop():
            self.get_logger().warning("the network is still busy with its last frame, which will not be published")
        if self._views is not None:
            self._views.stop()

    def _release(self) -> None:
        if self._pipeline is None:
            return
        self._end_timer("diagnostics_period_s")
        self._sync.close()
        del self._sync  # which knows the pipeline
        self._budget_input.destroy()
        self._views.destroy()
        for publisher in (self._pose, self._classification, self._allocation, self._age, self._diagnostics):
            self._ports.destroy(publisher)
        self._pipeline.engine.close()
        self._pipeline = None
        gc.unfreeze()

    # --- parameters --------------------------------------------------------------------------------

    def _value(self, name: str) -> object:
        return self.get_parameter(name).value

    def _check_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        unconfigured = self.state_label == "unconfigured"
        found = [": found ".join((w[0], f"{w[1]}; allowed: {w[2]}")) for w in
                 (parameters.problem(p, unconfigured) for p in changes) if w]
        if not found and self._pipeline is not None:
            found = self._unaffordable({p.name: p.value for p in changes})
        return SetParametersResult(successful=not found, reason="; ".join(found))

    def _unaffordable(self, changes: dict[str, object]) -> list[str]:
        """Why a changed default budget cannot be used with the loaded model."""
        limit = changes.get("budget_limit", self._value("budget_limit"))
        unit = changes.get("budget_unit", self._value("budget_unit"))
        try:
            if limit >= 0:
                self._pipeline.check_budget(Budget(limit, unit), self._value("frame_rate_hz"))
        except InputError as error:
            return [str(error)]
        return []

    def _all_parameters(self) -> list[Parameter]:
        return [self.get_parameter(spec.name) for spec in parameters.PARAMETERS]

    def _apply_parameters(self, changes: list[Parameter]) -> None:
        for parameter in changes:
            timer = self._paced.get(parameter.name)
            if timer is not None:
                timer.timer_period_ns = round(parameter.value * 1e9)
                timer.reset()
        if self._deployment is not None and {p.name for p in changes} & {"budget_limit", "budget_unit"}:
            with self._budget_lock:
                self._budgets.default = self._default_budget()

    def _default_budget(self) -> Budget:
        assert self._deployment is not None
        if self._value("budget_limit") >= 0.0:
            return Budget(self._value("budget_limit"), self._value("budget_unit"), "parameter")
        return Budget.of(self._deployment.budget, "deployment file")

    # --- executor thread: messages and timers ------------------------------------------------------

    def _take_budget(self, budget: Budget, priority: int, valid_for_s: float) -> None:
        assert self._pipeline is not None
        self._pipeline.check_budget(budget, self._frame_rate_hz())
        with self._budget_lock:
            self._budgets.submit(budget, priority, valid_for_s, self._arrival.now_s())

    def _refuse_budget(self, error: InputError) -> None:
        self._log.budgets_refused += 1
        self._log.last_error = str(error)
        self._warn_once(f"budget refused, the one in force stays: {error}")

    def _deliver(self, frame: SensorFrame, arrived_s: float) -> None:
        if self._worker is not None:
            self._worker.put(Work(frame, arrived_s))

    # --- worker thread -----------------------------------------------------------------------------

    def _process(self, work: Work) -> None:
        pipeline, worker = self._pipeline, self._worker
        if pipeline is None or worker is None:
            return  # deactivated meanwhile
        self._frame_stamps.append(work.frame.stamp_ns)
        with self._budget_lock:
            budget = self._budgets.current(self._arrival.now_s())
        started_s = time.monotonic()
        try:
            estimate = pipeline.process(work.frame, budget, self._frame_rate_hz())
        except Exception as error:
            failed_s = time.monotonic()
            self._allocation.publish(failed_message(
                work.frame, pipeline.engine.config, budget, str(error), 1e3 * (failed_s - work.arrived_s),
                1e3 * (failed_s - started_s), worker.dropped))
            raise
        ended_s = time.monotonic()
        latency_ms, inference_ms = 1e3 * (ended_s - work.arrived_s), 1e3 * (ended_s - started_s)
        if estimate.mean_m is not None:
            self._pose.publish(pose_message(estimate))
            self._classification.publish(classification_message(estimate))
        self._allocation.publish(allocation_message(
            work.frame, estimate, pipeline.engine.config.depths, latency_ms, inference_ms, worker.dropped))
        self._log.add(estimate.allocation, latency_ms, inference_ms)
        if self._age.get_subscription_count():
            self._age.publish(Float32(data=1e-6 * (self.get_clock().now().nanoseconds - work.frame.stamp_ns)))
        self._views.show(work.frame, estimate, latency_ms, worker.dropped)

    def _frame_rate_hz(self) -> float:
        """What watts are divided by: the parameter, or the rate of the last frames where that is higher."""
        stamps = list(self._frame_stamps)
        spanned_s = (stamps[-1] - stamps[0]) * 1e-9 if len(stamps) > 1 else 0.0
        measured = (len(stamps) - 1) / spanned_s if spanned_s > 0 else 0.0
        return max(self._value("frame_rate_hz"), measured)

    def _failed(self, error: Exception) -> None:
        if not self.context.ok():
            return  # shut down between inference and publishing
        self._log.failures += 1
        self._log.last_error = f"{type(error).__name__}: {error}"
        expected = isinstance(error, AdmnError)
        kind = f"{type(error).__name__} {getattr(error, 'field', '')}"
        self._warn_once(f"frame lost (further ones of this kind are only counted): "
                        f"{error if expected else self._log.last_error}", kind)

    def _warn_once(self, text: str, kind: str = "") -> None:
        kind = kind or text
        if kind not in self._logged_failures and len(self._logged_failures) < 100:
            self._logged_failures.add(kind)
            self.get_logger().error(text)

    def _publish_diagnostics(self) -> None:
        if self._pipeline is not None:
            self._budget_input.follow_latched()
            if self._intake is not None:
                self._intake.look()
            if self._pipeline.frames.node_poses is not None:
                self._views.stand(self._pipeline.frames.node_poses.poses)
            self._diagnostics.publish(diagnostics_message(
                self.get_fully_qualified_name(), self.get_clock().now().to_msg(), self._pipeline, self._log,
                self._worker, self._arrival.now_s(), self._connections()))

    def _connections(self) -> Connections:
        inputs = {key: self.resolve_topic_name(entry.topic) for key, entry in self._pipeline.frames.inputs.items()}
        return Connections(inputs, self._ports.mismatches())


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run admn_ros perception`."""
    sys.setswitchinterval(SWITCH_S)
    return run_node(PerceptionNode, args)


if __name__ == "__main__":
    sys.exit(main())
