# SPDX-License-Identifier: Apache-2.0
"""Show a running perception node on a terminal as a dashboard, or without a terminal as lines of text."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rich.console import Console
from rich.live import Live

from admn_ros.config import BUDGET_UNITS
from admn_ros.errors import AdmnError
from admn_ros.inference.decision import received_decisions
from admn_ros.msg import Classification, LayerAllocation, ModalityAllocation
from admn_ros.nodes import qos
from admn_ros.nodes.conversions import AVAILABILITY
from admn_ros.nodes.parameters import Spec, declare, warn_of_unknown
from admn_ros.nodes.run_node import Program, run_node
from admn_ros.nodes.status import status_name
from admn_ros.replay.ground_truth import Track
from admn_ros.views.dashboard import SHORT_UNITS, Dashboard, Problem, write_svg
from admn_ros.views.timeline import FrameRecord, ModalityRecord, draw_timeline

STATES = {value: state for state, value in AVAILABILITY.items()}
REASONS = {getattr(LayerAllocation, name): name.removeprefix("REASON_").lower().replace("_", " ")
           for name in dir(LayerAllocation) if name.startswith("REASON_")}
KEEP = 20_000      # frames that are kept for the timeline
SHOWN = 300        # frames that the percentiles cover
TRUTHS = 4 * KEEP  # true positions that are kept: they come more often than frames
TRUTH_GAP_S = 0.1  # longest gap between true positions that is interpolated across
NOWHERE = (math.nan, math.nan, math.nan)
LEGEND = ("layers run / layers of each modality; no mark: new readings, \"·\": an earlier reading held, "
          "\"!\": sensor nodes missing, \"✗\": all missing")
"""Legend of the lines of text."""
EXPIRY_S = 10.0
"""Age at which a status of /diagnostics is ignored."""

PARAMETERS = (
    Spec("node", "/admn", "Perception node to watch.", fixed=True),
    Spec("picture", "", "PNG file for a timeline of all frames at the end; empty: none.", fixed=True),
    Spec("svg", "", "SVG file for the dashboard at the end; empty: none.", fixed=True),
    Spec("seconds", 0.0, "Duration in seconds; 0: until interrupted.", fixed=True),
)


class WatchNode(Node):
    """Collects a record of each frame that the perception node reports.

    Attributes:
        records: frames, oldest first.
        accepted: accepted messages of each input, by the node's diagnostics.
        processed: number of processed frames, likewise.
        picture: PNG file for the timeline at the end; empty for none.
        svg: SVG file for the dashboard at the end; empty for none.
        seconds: duration; 0 until interrupted.
    """

    def __init__(self, name: str = "watch", target: str | None = None, **kwargs: object) -> None:
        super().__init__(name, **kwargs)
        values = declare(self, PARAMETERS)
        warn_of_unknown(self)
        self._target = target = target or values["node"]
        self._inputs, self._inference = status_name(target, "input "), status_name(target, "inference")
        self.picture, self.svg, self.seconds = values["picture"], values["svg"], values["seconds"]
        self.records: deque[FrameRecord] = deque(maxlen=KEEP)
        self._labels: dict[int, str] = {}
        self._poses: dict[int, tuple[float, float, float]] = {}
        self._truths: dict[int, tuple[float, float, float]] = {}
        self._last: LayerAllocation | None = None
        self._received_s = -math.inf
        self._speed: tuple[int, float] = (0, math.nan)
        self._statuses: dict[str, tuple[float, DiagnosticStatus]] = {}
        self._outputs = [
            self.create_subscription(LayerAllocation, f"{target}/allocation", self._on_allocation, qos.RESULT_OUT),
            self.create_subscription(PoseWithCovarianceStamped, f"{target}/pose", self._on_pose, qos.RESULT_OUT),
            self.create_subscription(Classification, f"{target}/classification", self._on_class, qos.RESULT_OUT),
        ]
        self.accepted: dict[str, int] = {}
        self.processed = 0
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.RESULT_OUT)
        self.create_subscription(Odometry, f"{target}/odometry", self._on_odometry, qos.RESULT_OUT)
        self.create_subscription(PoseStamped, "ground_truth/pose", self._on_truth, qos.SENSOR_IN)

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        position, covariance = message.pose.pose.position, message.pose.covariance
        spread = math.sqrt(max(covariance[0], covariance[7]))
        _store(self._poses, stamp_of(message), (position.x, position.y, spread), KEEP)

    def _on_class(self, message: Classification) -> None:
        _store(self._labels, stamp_of(message), f"{message.label} {message.score:.2f}")

    def _on_truth(self, message: PoseStamped) -> None:
        place = message.pose.position
        if all(map(math.isfinite, (place.x, place.y, place.z))):
            _store(self._truths, stamp_of(message), (place.x, place.y, place.z), TRUTHS)

    def _on_odometry(self, message: Odometry) -> None:
        linear = message.twist.twist.linear
        self._speed = stamp_of(message), math.hypot(linear.x, linear.y, linear.z)

    @property
    def connected(self) -> bool:
        """Whether the outputs of the perception node have been discovered."""
        return all(s.get_publisher_count() for s in self._outputs)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._statuses[status.name] = time.monotonic(), status
            values = {v.key: v.value for v in status.values}
            if status.name.startswith(self._inputs):
                self.accepted[status.name.removeprefix(self._inputs)] = int(values["accepted"])
            elif status.name == self._inference:
                self.processed = int(values["frames"])

    def _on_allocation(self, message: LayerAllocation) -> None:
        self._last, self._received_s = message, time.monotonic()
        self.records.append(FrameRecord(
            stamp_ns=stamp_of(message), granted=message.granted_limit, spent=message.spent,
            unit=BUDGET_UNITS[message.granted_unit], reason=REASONS[message.reason],
            latency_ms=message.latency_ms, dropped=message.frames_dropped,
            modalities={m.modality: _modality(m) for m in message.modalities}))

    def frames(self) -> list[FrameRecord]:
        """Return the records with the estimated position, and the ground truth interpolated at the stamp.

        Both are topics of their own, and may arrive after the record was made.
        """
        records = list(self.records)
        truths_m = np.full((len(records), 3), math.nan)
        if self._truths:
            truth = Track.of(np.array(list(self._truths)), np.array(list(self._truths.values())), "ground_truth/pose")
            truths_m = truth.at(np.array([r.stamp_ns for r in records], np.int64), "linear", TRUTH_GAP_S)
        return [replace(r, position_m=self._poses.get(r.stamp_ns, NOWHERE)[:2], truth_m=(truth_m[0], truth_m[1]))
                for r, truth_m in zip(records, truths_m.tolist(), strict=True)]

    def row(self, record: FrameRecord) -> list[str]:
        """Return the cells of a line of text about a frame."""
        unit = SHORT_UNITS[record.unit]
        pose = self._poses.get(record.stamp_ns)
        return [
            f"{(record.stamp_ns - self.records[0].stamp_ns) * 1e-9:6.2f}",
            f"{record.granted:g}{unit}", f"{record.spent:g}{unit}",
            *(_cell(m) for m in record.modalities.values()),
            f"{record.latency_ms:.0f}", str(record.dropped),
            f"{pose[0]:+.2f} {pose[1]:+.2f} ±{pose[2]:.2f}" if pose else
            "no target" if record.stamp_ns in self._labels else f"none ({record.reason})",
            self._labels.get(record.stamp_ns, ""),
        ]

    def dashboard(self) -> Dashboard:
        """Return the current state as a dashboard."""
        now_s, last = time.monotonic(), self._last
        fresh = [status for at_s, status in self._statuses.values() if now_s - at_s < EXPIRY_S]
        governor = next((s.message for s in fresh if s.name.endswith(": grant")), "")
        if last is None:
            return Dashboard(node=str(self._target), statuses=len(fresh), problems=_problems(fresh), governor=governor)
        stamp_ns = stamp_of(last)
        pose, records = self._poses.get(stamp_ns), list(self.records)[-SHOWN:]
        if pose is not None:
            records[-1] = replace(records[-1], position_m=pose[:2])
        return Dashboard(
            node=str(self._target), records=records,
            active={m.modality: tuple(m.active_layers) for m in last.modalities},
            inputs=received_decisions(last.inputs),
            source=last.source, why=last.reason_text, spread_m=pose[2] if pose else math.nan,
            label=self._labels.get(stamp_ns, ""), quiet_s=now_s - self._received_s,
            speed_mps=self._speed[1] if abs(self._speed[0] - stamp_ns) < 10**9 else math.nan,
            statuses=len(fresh), problems=_problems(fresh), governor=governor)


class Display:
    """Shows the dashboard on a terminal; in a log or a pipe, lines of text."""

    def __init__(self, node: WatchNode, console: Console | None = None) -> None:
        self._node = node
        self._console = console or Console(width=None if sys.stdout.isatty() else 150)
        self._live = Live(node.dashboard(), console=self._console, auto_refresh=False) if sys.stdout.isatty() else None
        self._printed = -1
        if self._live is not None:
            self._live.start()
        node.create_timer(0.2 if self._live is not None else 0.5, self._refresh)

    def close(self) -> None:
        """Stop, and leave the last dashboard on the screen."""
        if self._live is not None:
            self._live.update(self._node.dashboard(), refresh=True)
            self._live.stop()

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._node.dashboard(), refresh=True)
        elif self._node.records and self._node.records[-1].stamp_ns != self._printed:
            record = self._node.records[-1]
            cells = self._node.row(record)
            names = ["t", "budget", "spent", *record.modalities, "ms", "dropped", "at", "class"]
            if self._printed < 0:
                self._console.print(LEGEND, highlight=False)
            self._console.print("  ".join(f"{n} {c}" for n, c in zip(names, cells, strict=True)), highlight=False)
            self._printed = record.stamp_ns


def stamp_of(message: object) -> int:
    """Return the header stamp in nanoseconds."""
    stamp = message.header.stamp
    return stamp.sec * 10**9 + stamp.nanosec


def _store(store: dict, key: int, value: object, limit: int = 200) -> None:
    store[key] = value
    if len(store) > limit:
        del store[next(iter(store))]


def _modality(message: ModalityAllocation) -> ModalityRecord:
    return ModalityRecord(
        layers=len(message.active_layers), layers_total=message.layers_total, qoi=message.qoi,
        availability=STATES[message.availability], held_nodes=tuple(message.held_nodes),
        missing_nodes=tuple(message.missing_nodes))


def _cell(record: ModalityRecord) -> str:
    mark = {"fresh": " ", "held": "·", "missing": "✗"}[str(record.availability)]
    if mark != "✗" and record.missing_nodes:
        mark = "!"
    return f"{record.layers:2d}/{record.layers_total} {mark}"


def _problems(statuses: list[DiagnosticStatus]) -> list[Problem]:
    return [Problem(s.level[0], s.name, s.message) for s in statuses if s.level != DiagnosticStatus.OK]


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run admn_ros watch` and `admn watch`."""
    shown: list[tuple[WatchNode, Display]] = []

    def make() -> WatchNode:
        node = WatchNode()
        shown.append((node, Display(node)))
        if node.seconds > 0:
            node.create_timer(node.seconds, _end)
        return node

    code = run_node(make, Program("watch", __doc__, PARAMETERS), args, returns=True)
    for node, display in shown:
        display.close()
        try:
            _write_pictures(node)
        except AdmnError as error:
            print(f"watch: {error}", file=sys.stderr)
            return 2
    return code


def _end() -> None:
    raise ExternalShutdownException


def _write_pictures(node: WatchNode) -> None:
    if node.svg:
        write_svg(node.dashboard(), Path(node.svg))
        print(f"picture: {node.svg}")
    if node.picture and node.records:
        draw_timeline(node.frames(), Path(node.picture))
        print(f"picture: {node.picture}")


if __name__ == "__main__":
    sys.exit(main())
