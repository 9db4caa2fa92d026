# SPDX-License-Identifier: Apache-2.0
"""The perception node in a process of its own, and a listener that records its outputs, for trials."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.srv import GetState
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

from admn_ros.msg import ComputeBudget, LayerAllocation
from admn_ros.nodes import qos
from admn_ros.nodes.conversions import AVAILABILITY
from admn_ros.nodes.discovery import isolate_discovery
from admn_ros.nodes.process_signals import pause
from admn_ros.nodes.processes import NodeProcess
from admn_ros.nodes.run_node import prepare_process
from admn_ros.nodes.status import status_name
from admn_ros.sample import Availability

START_TIMEOUT_S = 300.0
FIRST_FRAME_TIMEOUT_S = 300.0
TARGET = "/admn"
STATES = {value: state for state, value in AVAILABILITY.items()}


@dataclass(frozen=True)
class ReportedFrame:
    """A frame as `~/allocation` reports it.

    Attributes:
        stamp_ns: stamp of the frame.
        received_s: time of arrival, on the monotonic clock.
        age_ms: time from the stamp to the arrival, by the wall clock.
        requested: budget in force, in its unit.
        source: source of that budget.
        layers: number of layers that ran.
        violation: whether the frame spent more than granted, or ran more layers than requested.
        failed: whether the network failed.
        states: availability by modality.
        complete: modalities to which every sensor node contributed.
        missing: inputs that did not contribute, such as `left/rgb`.
        latency_ms: as in `LayerAllocation`; likewise the next two.
        inference_ms: likewise.
        waiting_ms: likewise.
        dropped: frames dropped since the start of the node.
    """

    stamp_ns: int
    received_s: float
    age_ms: float
    requested: float
    source: str
    layers: int
    violation: bool
    failed: bool
    states: dict[str, Availability]
    complete: frozenset[str]
    missing: frozenset[str]
    latency_ms: float
    inference_ms: float
    waiting_ms: float
    dropped: int

    @property
    def transit_ms(self) -> float:
        """Part of the age that was spent neither in the node nor in waiting."""
        return self.age_ms - self.latency_ms - self.waiting_ms


@dataclass(frozen=True)
class ReportedPose:
    """A pose as `~/pose` reports it; times as in `ReportedFrame`, `finite` of its position and covariance."""

    stamp_ns: int
    received_s: float
    age_ms: float
    finite: bool


@dataclass(frozen=True)
class Interval:
    """Outputs of the node over some seconds, and the processor cores that it used on average."""

    frames: list[ReportedFrame]
    poses: list[ReportedPose]
    seconds: float
    cores: float


class Listener(Node):
    """A node that records the outputs of the perception node and publishes budgets to it.

    Attributes:
        frames: reported frames, oldest first.
        poses: reported poses, oldest first.
        statuses: last values of each diagnostics status, by the part of its name after the node's.
        levels: last level of each status, by the same names.
        reports: number of diagnostics messages of the node.
        on_frame: callback for each frame, on the listener's thread.
    """

    def __init__(self, name: str = "trial_listener", **kwargs: object) -> None:
        super().__init__(name, **kwargs)
        self.frames: list[ReportedFrame] = []
        self.poses: list[ReportedPose] = []
        self.statuses: dict[str, dict[str, str]] = {}
        self.levels: dict[str, bytes] = {}
        self.reports = 0
        self.on_frame: Callable[[ReportedFrame], None] | None = None
        self._outputs = [
            self.create_subscription(PoseWithCovarianceStamped, f"{TARGET}/pose", self._on_pose, qos.RESULT_OUT),
            self.create_subscription(LayerAllocation, f"{TARGET}/allocation", self._on_allocation, qos.RESULT_OUT),
        ]
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.RESULT_OUT)
        self._state_client = self.create_client(GetState, f"{TARGET}/get_state")
        self._state_future: Future | None = None
        self._retry_s = 0.0
        self._budget = self.create_publisher(ComputeBudget, f"{TARGET}/budget", qos.RESULT_OUT)

    @property
    def connected(self) -> bool:
        """Whether the endpoints of the perception node have been discovered."""
        return all(s.get_publisher_count() for s in self._outputs) and self._budget.get_subscription_count() > 0

    @property
    def configuration_failed(self) -> bool:
        """Whether the perception node runs and is unconfigured."""
        if self._state_future is not None and self._state_future.done():
            return bool(self._state_future.result().current_state.label == "unconfigured")
        if self._state_client.service_is_ready() and time.monotonic() >= self._retry_s:
            # A response is lost when it arrives before both sides have discovered each other.
            self._retry_s = time.monotonic() + 1.0
            self._state_future = self._state_client.call_async(GetState.Request())
        return False

    @property
    def last(self) -> ReportedFrame | None:
        """The newest frame."""
        return self.frames[-1] if self.frames else None

    def request_budget(self, layers: float, source: str = "trial") -> None:
        """Publish a budget in layers."""
        self._budget.publish(ComputeBudget(limit=float(layers), unit=ComputeBudget.UNIT_LAYERS, source=source))

    def withdraw_budget(self, source: str = "trial") -> None:
        """Withdraw the budget of a source."""
        self._budget.publish(ComputeBudget(unit=ComputeBudget.WITHDRAW, source=source))

    def refused_messages(self) -> int:
        """Return the number of sensor messages that the node has refused, by its diagnostics."""
        return sum(int(values.get("refused", 0)) for name, values in list(self.statuses.items())
                   if name.startswith("input "))

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        now_s, stamp_ns, age_ms = _received(message)
        position = message.pose.pose.position
        finite = all(map(math.isfinite, (position.x, position.y, position.z, *message.pose.covariance)))
        self.poses.append(ReportedPose(stamp_ns, now_s, age_ms, finite))

    def _on_allocation(self, message: LayerAllocation) -> None:
        now_s, stamp_ns, age_ms = _received(message)
        layers = sum(len(m.active_layers) for m in message.modalities)
        too_many = message.requested_unit == ComputeBudget.UNIT_LAYERS and layers > message.requested_limit
        frame = ReportedFrame(
            stamp_ns, now_s, age_ms, message.requested_limit, message.source, layers,
            violation=too_many or not message.spent <= message.granted_limit,
            failed=message.reason == LayerAllocation.REASON_FAILED,
            states={m.modality: STATES[m.availability] for m in message.modalities},
            complete=frozenset(m.modality for m in message.modalities if not m.missing_nodes),
            missing=frozenset(f"{node}/{m.modality}" for m in message.modalities for node in m.missing_nodes),
            latency_ms=message.latency_ms, inference_ms=message.inference_ms, waiting_ms=message.waiting_ms,
            dropped=message.frames_dropped)
        self.frames.append(frame)
        if self.on_frame is not None:
            self.on_frame(frame)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        node = status_name(TARGET, "")
        own = [s for s in message.status if s.name.startswith(node)]
        for status in own:
            name = status.name.removeprefix(node)
            self.levels[name] = status.level
            self.statuses[name] = {v.key: v.value for v in status.values} | {"message": status.message}
        self.reports += bool(own)


def _received(message: object) -> tuple[float, int, float]:
    """Return the monotonic time now, and the stamp and age in milliseconds of a message."""
    now_ns = time.time_ns()
    stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
    return time.monotonic(), stamp_ns, 1e-6 * (now_ns - stamp_ns)


class PerceptionUnderTest:
    """The perception node as a process, with a listener. A context manager that stops both.

    Args:
        parameters: parameters of the perception node.

    Raises:
        RuntimeError: the node did not start; its own messages are on the terminal.
    """

    def __init__(self, **parameters: object) -> None:
        isolate_discovery()
        prepare_process()
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        # Every frame is to have a pose, also with random weights and noise in place of a scene.
        self._parameters = {"autostart": True, "diagnostics_period_s": 0.2, "no_target_above": 1.0, **parameters}
        self.listener = Listener(context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.listener)
        self._thread = threading.Thread(target=self._spin, name="listener", daemon=True)
        self._thread.start()
        self._process: NodeProcess | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> PerceptionUnderTest:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def process(self) -> NodeProcess:
        """Process of the perception node."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start the node, for the first time or again, and wait until it is connected.

        Raises:
            RuntimeError: the node did not start.
        """
        self._process = process = NodeProcess("perception", **self._parameters)
        self.wait(lambda: self.listener.connected or self.listener.configuration_failed or not process.running,
                  START_TIMEOUT_S)
        if not self.listener.connected:
            code = process.stop()
            raise RuntimeError(f"the perception node did not start (exit code {code}); its own messages are above")

    @contextmanager
    def fed(self, **parameters: object) -> Iterator[NodeProcess]:
        """Run the `feed` node as a process, and wait for the first pose.

        Args:
            parameters: parameters of the feed node.

        Raises:
            RuntimeError: no pose came.
        """
        feed = NodeProcess("feed", **parameters)
        try:
            self.wait(lambda: self.listener.poses or not feed.running, FIRST_FRAME_TIMEOUT_S)
            if not feed.running or not self.listener.poses:
                raise RuntimeError("no pose was published; the nodes' own messages are above")
            yield feed
        finally:
            feed.stop()

    def collect(self, seconds: float) -> Interval:
        """Wait for some seconds, then return and remove all outputs that the listener holds."""
        cpu_s, since_s = self.process.cpu_s(), time.monotonic()
        pause(seconds)
        lasted_s = time.monotonic() - since_s
        cores = (self.process.cpu_s() - cpu_s) / lasted_s
        frames, self.listener.frames = self.listener.frames, []
        poses, self.listener.poses = self.listener.poses, []
        return Interval(frames, poses, lasted_s, cores)

    def wait(self, condition: Callable[[], object], timeout_s: float) -> bool:
        """Wait until a condition holds that another thread or process brings about; False on timeout."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            if condition():
                return True
            pause(0.01)
        return bool(condition())

    def close(self) -> None:
        """Stop the node and the listener."""
        if self._process is not None:
            self._process.stop()
        self.context.try_shutdown()
        self._thread.join(5.0)
        self._executor.shutdown()  # not before: it takes away what a thread that still spins waits for
        self.listener.destroy_node()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
        except Exception:
            if self.context.ok():  # otherwise the context was shut down in the middle of a callback
                raise
