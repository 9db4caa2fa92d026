# SPDX-License-Identifier: Apache-2.0
"""A perception node in a process of its own, and everything it says, for trying to break it and for figures."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
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
from admn_ros.nodes.processes import NodeProcess, keep_apart
from admn_ros.nodes.run_node import prepare_process
from admn_ros.sample import Availability

START_TIMEOUT_S = 300.0
TARGET = "/admn"
STATES = {value: state for state, value in AVAILABILITY.items()}


@dataclass(frozen=True)
class Seen:
    """A frame as it was reported.

    received_s: when, on the monotonic clock. age_ms: from its stamp until then, by the wall clock.
    violation: it spent more than was granted, or ran more layers than were asked for.
    complete: modalities that every sensor node contributed to. Times as in `LayerAllocation`.
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
    latency_ms: float
    inference_ms: float
    waiting_ms: float
    dropped: int

    @property
    def transit_ms(self) -> float:
        """Of its age, what was spent neither in the node nor in waiting."""
        return self.age_ms - self.latency_ms - self.waiting_ms


@dataclass(frozen=True)
class SeenPose:
    """A pose as it was received; times as in `Seen`."""

    stamp_ns: int
    received_s: float
    age_ms: float
    finite: bool


class Listener(Node):
    """Keeps what the perception node publishes, and publishes budgets to it."""

    def __init__(self, name: str = "bench", **kwargs: object) -> None:
        super().__init__(name, **kwargs)
        self.frames: list[Seen] = []
        self.poses: list[SeenPose] = []
        self.statuses: dict[str, dict[str, str]] = {}
        self.reports = 0
        self.on_frame: Callable[[Seen], None] | None = None
        self._outputs = [
            self.create_subscription(PoseWithCovarianceStamped, f"{TARGET}/pose", self._on_pose, qos.RESULT_OUT),
            self.create_subscription(LayerAllocation, f"{TARGET}/allocation", self._on_allocation, qos.RESULT_OUT),
        ]
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.RESULT_OUT)
        self._state = self.create_client(GetState, f"{TARGET}/get_state")
        self._answer: Future | None = None
        self._ask_again_s = 0.0
        self._budget = self.create_publisher(ComputeBudget, f"{TARGET}/budget", qos.RESULT_OUT)

    @property
    def connected(self) -> bool:
        """Whether the perception node is there."""
        return all(s.get_publisher_count() for s in self._outputs) and self._budget.get_subscription_count() > 0

    @property
    def refused_to_start(self) -> bool:
        """Whether the perception node answers, and says that it is not configured."""
        if self._answer is not None and self._answer.done():
            return bool(self._answer.result().current_state.label == "unconfigured")
        if self._state.service_is_ready() and time.monotonic() >= self._ask_again_s:
            # An answer is lost when it comes before both sides have found each other.
            self._ask_again_s = time.monotonic() + 1.0
            self._answer = self._state.call_async(GetState.Request())
        return False

    @property
    def last(self) -> Seen | None:
        """The frame that came last."""
        return self.frames[-1] if self.frames else None

    def budget(self, layers: float) -> None:
        """Ask for a budget."""
        self._budget.publish(ComputeBudget(limit=float(layers), unit=ComputeBudget.UNIT_LAYERS, source="bench"))

    def counter(self, status: str, name: str) -> int:
        """A number that /diagnostics gave last, such as `input node1/rgb`, `refused`; 0 before the first."""
        return int(self.statuses.get(status, {}).get(name, 0))

    def refused(self) -> int:
        """Sensor messages that the node refused, all inputs."""
        return sum(self.counter(status, "refused") for status in list(self.statuses) if status.startswith("input "))

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        now_s, stamp_ns, age_ms = _received(message)
        position = message.pose.pose.position
        finite = all(map(math.isfinite, (position.x, position.y, position.z, *message.pose.covariance)))
        self.poses.append(SeenPose(stamp_ns, now_s, age_ms, finite))

    def _on_allocation(self, message: LayerAllocation) -> None:
        now_s, stamp_ns, age_ms = _received(message)
        layers = sum(len(m.active_layers) for m in message.modalities)
        too_many = message.requested_unit == ComputeBudget.UNIT_LAYERS and layers > message.requested_limit
        seen = Seen(
            stamp_ns, now_s, age_ms, message.requested_limit, message.source, layers,
            violation=too_many or not message.spent <= message.granted_limit,
            failed=message.reason == LayerAllocation.REASON_FAILED,
            states={m.modality: STATES[m.availability] for m in message.modalities},
            complete=frozenset(m.modality for m in message.modalities if not m.missing_nodes),
            latency_ms=message.latency_ms, inference_ms=message.inference_ms, waiting_ms=message.waiting_ms,
            dropped=message.frames_dropped)
        self.frames.append(seen)
        if self.on_frame is not None:
            self.on_frame(seen)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        ours = [s for s in message.status if s.name.startswith(f"{TARGET}: ")]
        for status in ours:
            name = status.name.removeprefix(f"{TARGET}: ")
            self.statuses[name] = {v.key: v.value for v in status.values} | {"message": status.message}
        self.reports += bool(ours)


def _received(message: object) -> tuple[float, int, float]:
    """Monotonic time now; the message's stamp, and its age in milliseconds."""
    now_ns = time.time_ns()
    stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
    return time.monotonic(), stamp_ns, 1e-6 * (now_ns - stamp_ns)


class Bench:
    """Starts the perception node and listens. A context manager: at its end everything has been stopped.

    Raises:
        RuntimeError: the node did not come up; what it said is on the terminal.
    """

    def __init__(self, **parameters: object) -> None:
        keep_apart()
        prepare_process()
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self._parameters = {"autostart": True, "diagnostics_period_s": 0.2, **parameters}
        self.listener = Listener(context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.listener)
        self._thread = threading.Thread(target=self._spin, name="listener", daemon=True)
        self._thread.start()
        self._perception: NodeProcess | None = None
        try:
            self.start_perception()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def perception(self) -> NodeProcess:
        """The process of the perception node."""
        assert self._perception is not None
        return self._perception

    def start_perception(self) -> None:
        """Start it (again) and wait until it is connected."""
        self._perception = process = NodeProcess("perception", **self._parameters)
        self.wait(lambda: self.listener.connected or self.listener.refused_to_start or not process.running,
                  START_TIMEOUT_S)
        if not self.listener.connected:
            code = process.stop()
            raise RuntimeError(f"the perception node did not start (exit code {code}); its own messages are above")

    def wait(self, condition: Callable[[], object], timeout_s: float) -> bool:
        """Wait for something that another thread or process brings about; False when that took too long."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            if condition():
                return True
            time.sleep(0.01)
        return bool(condition())

    def close(self) -> None:
        """Stop the node and the listening."""
        if self._perception is not None:
            self._perception.stop()
        self._executor.shutdown()
        self.context.try_shutdown()
        self._thread.join(5.0)
        self.listener.destroy_node()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
        except Exception:
            if self.context.ok():  # otherwise it was shut down in the middle of a callback
                raise
