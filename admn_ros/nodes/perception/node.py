# SPDX-License-Identifier: Apache-2.0
"""The perception node: sensor messages and budgets in; pose, class and layer allocation out."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus

from admn_ros.budget.budget import Budget
from admn_ros.config import Objective, parse_config
from admn_ros.deployment import DeploymentConfig, load_deployment
from admn_ros.errors import AdmnError, ConfigError, InputError
from admn_ros.inference.frame_rate import FrameRate, RateLimit
from admn_ros.inference.health.frame_log import FrameLog
from admn_ros.inference.health.output_health import OutputState
from admn_ros.inference.latest_only_queue import LatestOnlyQueue
from admn_ros.inference.pipeline import Pipeline
from admn_ros.inference.runtime import RuntimeChoice, provider_names
from admn_ros.inference.seen_causes import SeenCauses
from admn_ros.inference.target import without_absent_target
from admn_ros.nodes.managed_node import ManagedNode
from admn_ros.nodes.perception.approximate_time import make_synchronizer
from admn_ros.nodes.perception.budget_topics import BudgetTopics
from admn_ros.nodes.perception.diagnostics import NodeState, input_statuses, poses_status, process_status
from admn_ros.nodes.perception.first_costs import FirstCosts
from admn_ros.nodes.perception.image_bridge import colour_conversion
from admn_ros.nodes.perception.output_status import output_statuses
from admn_ros.nodes.perception.parameters import PARAMETERS
from admn_ros.nodes.perception.results import Results, Timing
from admn_ros.nodes.perception.sensor_subscriptions import ReceivedFrame, SensorSubscriptions, message_class
from admn_ros.nodes.perception.sync_parameters import SyncParameters
from admn_ros.nodes.perception.target_frames import check_frames
from admn_ros.nodes.perception.visualization import Visualization
from admn_ros.nodes.run_node import Program, run_node
from admn_ros.nodes.status import LastingErrors
from admn_ros.sample import SensorKey
from admn_ros.sensing.sync.input_health import offset_to_clock

SWITCH_S = 0.0005
"""Interval after which a thread yields the interpreter to one that waits, in seconds. The network takes the interpreter
for short moments, a thousand times a frame; with Python's default of 5 ms it waits for the thread that receives
messages."""


class PerceptionNode(ManagedNode):
    """Lifecycle node around a pipeline.

    `configure` loads the model and subscribes to ~/budget; `activate` subscribes to the sensors and starts the network.
    Callbacks decode messages on the executor's thread; the network runs on a worker thread, on the newest frame.
    """

    def __init__(self, name: str = "admn", **kwargs: object) -> None:
        super().__init__(name, PARAMETERS, **kwargs)
        self._deployment: DeploymentConfig | None = None
        self._pipeline: Pipeline | None = None
        self._sync: SyncParameters | None = None
        self._visualization: Visualization | None = None
        self._sensors: SensorSubscriptions | None = None
        self._queue: LatestOnlyQueue[ReceivedFrame] | None = None
        self._first_costs: FirstCosts | None = None
        self._budgets: BudgetTopics | None = None
        self._log, self._frame_rate, self._logged = FrameLog(), FrameRate(), SeenCauses()
        self._rate_limit, self._skipped = RateLimit(), Counter[str]()
        self._lasting = LastingErrors()
        self.autostart()

    @property
    def pipeline(self) -> Pipeline | None:
        """Pipeline of the loaded model; None while unconfigured."""
        return self._pipeline

    # --- lifecycle ----------------------------------------------------------------------------------

    def configure(self) -> None:
        """Load the deployment and the model; create the results and the budget input."""
        if not self.value("model"):
            raise ConfigError.missing("model", "a model folder, or untrained:gdtm-tiny to try topics and budgets")
        self._deployment = load_deployment(self.value("sensors"))
        for key, entry in self._deployment.inputs.items():
            message_class(key, entry)
        self._pipeline = pipeline = Pipeline.load(
            self.value("model"), self._deployment, self.value("device"), self.value("threads"), make_synchronizer,
            self.value("output_frame"), RuntimeChoice(self.value("engine"), provider_names(self.value("providers")),
                                                      self.value("precision")))
        check_frames(self.values(), pipeline.engine.config.frame_id, self._deployment.sensor_frames)
        pipeline.engine.objective = self._objective(self.values())
        pipeline.frames.conversion = colour_conversion(self.get_logger().warning)
        default, self._log = self._default_budget(self.values()), FrameLog()
        pipeline.check_budget(default, self.value("frame_rate_hz"))
        pipeline.engine.warm_up()
        self._first_costs = FirstCosts(self, pipeline.engine.costs)
        inputs = pipeline.frames.inputs
        self._sync = SyncParameters(self, self._deployment.sync, (k.modality for k in inputs), pipeline.frames.retune)
        config = pipeline.engine.config
        self._results = Results(self, config)
        self._visualization = Visualization(self, pipeline)
        self._budgets = BudgetTopics(
            self, pipeline.engine.costs, default, lambda budget: pipeline.check_budget(budget, self._rate_hz()),
            self._rate_hz, self._log.refuse_budget, self._first_costs)
        if pipeline.engine.costs_warning:
            self.get_logger().warning(pipeline.engine.costs_warning)
        if not config.trained:
            self.get_logger().warning(f"model '{config.name}' is UNTRAINED (random weights): estimates mean nothing")
        self.get_logger().info(f"configured: model '{config.name}' on {pipeline.engine.device}, "
                               f"{config.layers_total} layers, {len(inputs)} inputs")

    def activate(self) -> None:
        """Start the worker thread, then subscribe to the sensors."""
        self._pipeline.frames.restart()
        self._frame_rate = FrameRate()
        self._log.expect_from_now()
        self._visualization.start()
        self._rate_limit, self._skipped = RateLimit(), Counter[str]()
        self._queue = LatestOnlyQueue(self._process, self._on_error)
        self._sensors = SensorSubscriptions(self, self._pipeline, self._offer, self._wants_frame)

    def deactivate(self) -> None:
        """Unsubscribe from the sensors, finish the current frame, end the worker thread."""
        if self._sensors is not None:
            self._sensors.close()
            self._sensors = None
        queue, self._queue = self._queue, None
        if queue is not None and not queue.stop():
            self.get_logger().warning("the network is still busy with its last frame, which will not be published")
        if self._visualization is not None:
            self._visualization.stop()

    def cleanup(self) -> None:
        """Free the model."""
        if self._sync is not None:
            self._sync.close()
        if self._pipeline is not None:
            self._pipeline.engine.close()
        if self._first_costs is not None:
            self._first_costs.close()
        self._pipeline = self._sync = self._visualization = self._budgets = self._first_costs = None

    def destroy_node(self) -> None:
        """Deactivate, end a measurement of costs, destroy the node."""
        self.deactivate()
        if self._first_costs is not None and self._first_costs.pending:
            self._pipeline.engine.close()
            self._first_costs.close()
        super().destroy_node()

    # --- parameters and budgets ---------------------------------------------------------------------

    def check(self, values: Mapping[str, Any]) -> None:
        """Check the default budget and the frames of the outputs."""
        check_frames(values)
        if -1.0 < values["budget_limit"] < 0.0:
            raise ConfigError("budget_limit", values["budget_limit"], "0 or more, or -1 for the deployment file's")
        if self._pipeline is not None:
            self._objective(values)
            budget = self._default_budget(values)
            if self._first_costs is None or budget.unit not in self._pipeline.engine.costs.unmeasured:
                self._pipeline.check_budget(budget, values["frame_rate_hz"])

    def apply(self) -> None:
        """Adopt the objective, and the default budget, at once or when its costs are measured."""
        self._pipeline.engine.objective = self._objective(self.values())
        default = self._first_costs.usable(self._default_budget(self.values()))
        if not self._first_costs.wait_for(default, "", self._apply_measured):
            self._budgets.book.default = default
        self._budgets.publish(changed_only=True)

    def _objective(self, values: Mapping[str, Any]) -> Objective:
        """Return the objective of the deployment file, with the weights that parameters set."""
        given = {name: values[f"objective_{name}"] for name in Objective.model_fields}
        return parse_config(Objective, self._deployment.objective.model_dump()
                            | {name: weight for name, weight in given.items() if weight >= 0.0}, "objective")

    def _apply_measured(self, error: InputError | None) -> None:
        """Adopt the default budget now that its costs are measured; report if they could not be."""
        if error is None:
            self.apply()
            return
        self._log.refuse_budget(error)
        self.get_logger().error(f"default budget, which is not adopted: {error}")

    def _default_budget(self, values: Mapping[str, Any]) -> Budget:
        if values["budget_limit"] >= 0.0:
            return Budget(values["budget_limit"], values["budget_unit"], "parameter")
        return Budget.of(self._deployment.budget, "deployment file")

    def _rate_hz(self) -> float:
        """Return the frame rate for budgets in watts: the parameter, or the measured rate if that is higher."""
        return max(self.value("frame_rate_hz"), self._frame_rate.hz)

    # --- frames -----------------------------------------------------------------------------------------

    @property
    def _idle(self) -> str:
        """Why no estimate is wanted at present; empty if one is."""
        return "no result topic has a subscriber (lazy)" if self.value("lazy") and not self.endpoints.wanted else ""

    def _wants_frame(self) -> bool:
        return not self._idle and self._rate_limit.is_open(self.receive_clock.now_s(), self.value("max_rate_hz"))

    def _offer(self, received: ReceivedFrame) -> None:
        """Hand a frame over to the network, unless nobody wants it or it comes too early."""
        if self._idle:
            self._skipped["unwanted"] += 1
            self._log.expect_from_now()
        elif not self._rate_limit.take(self.receive_clock.now_s(), self.value("max_rate_hz")):
            self._skipped["over_rate"] += 1
        elif self._queue is not None:
            self._queue.put(received)

    # --- worker thread ------------------------------------------------------------------------------

    def _process(self, received: ReceivedFrame) -> None:
        pipeline, queue, frame = self._pipeline, self._queue, received.frame
        if pipeline is None or queue is None:
            return  # deactivated meanwhile
        self._frame_rate.add(frame.stamp_ns)
        budget, started_s = self._budgets.current, time.monotonic()

        def timing() -> Timing:
            now_s = time.monotonic()
            return Timing(1e3 * (now_s - received.arrived_s), 1e3 * (now_s - started_s), queue.dropped)

        try:
            estimate = without_absent_target(pipeline.process(frame, budget, self._rate_hz()),
                                             self.value("no_target_above"))
        except Exception as error:
            self._results.publish_failure(frame, budget, error, timing())
            raise
        times = timing()
        self._results.publish(frame, estimate, times)
        self._log.add(estimate.allocation, times.latency_ms, times.inference_ms)
        self._visualization.show(frame, estimate, times.latency_ms, times.dropped)

    def _on_error(self, error: Exception) -> None:
        if not self.context.ok():
            return  # shut down between inference and publishing
        self._log.fail(error)
        text = str(error) if isinstance(error, AdmnError) else self._log.last_error
        self._log_once(f"frame lost (further ones of this kind are only counted): {text}",
                       f"{type(error).__name__} {getattr(error, 'field', '')}")

    def _log_once(self, text: str, cause: str) -> None:
        if self._logged.is_new(cause):
            self.get_logger().error(text)

    # --- diagnostics --------------------------------------------------------------------------------

    def statuses(self, mismatches: Mapping[str, str]) -> list[DiagnosticStatus]:
        """Return the statuses of inputs, inference, budget and process."""
        name, frames, active = self.get_fully_qualified_name(), self._pipeline.frames, self._queue is not None
        now_s = self.receive_clock.now_s()
        self._budgets.poll()
        absent: Mapping[SensorKey, str] = {}
        if self._sensors is not None:
            self._sensors.check()
            frames.watch.update(time.monotonic(), frames.sync)
            absent = self._sensors.absent()
        if frames.node_poses is not None:
            self._visualization.show_nodes(frames.node_poses.poses)
        topics = {key: self.resolve_topic_name(entry.topic) for key, entry in frames.inputs.items()}
        state = NodeState(name, active, now_s, frames, topics, mismatches, absent)
        inputs, outputs = input_statuses(state), output_statuses(name, self._output_state(now_s), self._lost())
        self._log_lasting([outputs[0], *inputs])
        return [*inputs, *poses_status(state), *outputs, process_status(name)]

    def _log_lasting(self, statuses: list[DiagnosticStatus]) -> None:
        """Log what has been an error for some time, because few look at /diagnostics first, and when it is over."""
        begun, ended = self._lasting.begun(statuses, time.monotonic()), self._lasting.ended(statuses)
        if begun:
            self.get_logger().error(begun)
        if ended:
            self.get_logger().info(f"no longer an error: {ended}")

    def clock_problems(self) -> list[str]:
        """Return what is wrong with `/clock`, and whether the stamps of most inputs differ from the clock."""
        found, clock_ns = super().clock_problems(), self.receive_clock.stamp_ns
        frames = self._pipeline.frames
        live = {key: frames.health[key] for key, count in frames.watch.recent.items() if count.accepted}
        offset = "" if clock_ns is None else offset_to_clock(live, self.receive_clock.now_s(), clock_ns)
        if offset:
            found.append(f"{offset}: latencies have no meaning. Synchronize the clocks, or set use_sim_time for a "
                         "recording")
        return found

    def _output_state(self, now_s: float) -> OutputState:
        queue, idle, rate_hz = self._queue, self._idle, self.value("max_rate_hz")
        if idle:
            self._log.expect_from_now()
        limit_s = max(self.value("no_frames_error_s"), 2.0 / rate_hz if rate_hz else 0.0)
        return OutputState(queue is not None, self._log, self._pipeline.frames, now_s, limit_s,
                           self._budgets.current, idle, 0.0 if queue is None else queue.busy_s,
                           self._first_costs.pending, self._budgets.contest, self._budgets.refused)

    def _lost(self) -> dict[str, int]:
        """Count the frames since activation that the network did not take, by the reason."""
        return {"dropped": 0 if self._queue is None else self._queue.dropped,
                "skipped_unwanted": self._skipped["unwanted"], "skipped_over_rate": self._skipped["over_rate"]}


def main(args: list[str] | None = None) -> int:
    """Run the node: `ros2 run admn_ros perception`."""
    sys.setswitchinterval(SWITCH_S)
    return run_node(PerceptionNode, Program("perception", __doc__, PARAMETERS), args)


if __name__ == "__main__":
    sys.exit(main())
