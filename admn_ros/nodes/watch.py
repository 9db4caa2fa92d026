# SPDX-License-Identifier: Apache-2.0
"""A live table of what the perception node does: budget, layers per modality, latency, drops."""

from __future__ import annotations

import math
import sys
from collections import deque
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rich.console import Console
from rich.live import Live
from rich.table import Table

from admn_ros.evaluation.timeline import FrameRecord, ModalityRecord, draw_timeline
from admn_ros.msg import Classification, LayerAllocation, ModalityAllocation
from admn_ros.nodes import qos
from admn_ros.nodes.conversions import AVAILABILITY, UNITS
from admn_ros.nodes.middleware import run_node

STATES = {value: state for state, value in AVAILABILITY.items()}
REASONS = {getattr(LayerAllocation, name): name.removeprefix("REASON_").lower().replace("_", " ")
           for name in dir(LayerAllocation) if name.startswith("REASON_")}
SHORT_UNITS = {"layers": "", "gflops": " GFLOP", "milliseconds": " ms", "joules": " J", "watts": " W"}
KEEP = 20_000  # frames; a picture of more would show nothing


class WatchNode(Node):
    """Collects one record for each frame that the perception node reports."""

    def __init__(self, name: str = "watch", target: str | None = None, **kwargs: object) -> None:
        super().__init__(name, **kwargs)
        target = target or self._declare("node", "/admn", "Perception node to watch.")
        self._target = target
        self.picture = self._declare("picture", "", "Where to write a picture at the end; empty: none.")
        self.records: deque[FrameRecord] = deque(maxlen=KEEP)
        self._labels: dict[int, str] = {}
        self._poses: dict[int, tuple[float, float, float]] = {}
        self._truth = (math.nan, math.nan)
        self._outputs = [
            self.create_subscription(LayerAllocation, f"{target}/allocation", self._on_allocation, qos.RESULT_OUT),
            self.create_subscription(PoseWithCovarianceStamped, f"{target}/pose", self._on_pose, qos.RESULT_OUT),
            self.create_subscription(Classification, f"{target}/classification", self._on_class, qos.RESULT_OUT),
        ]
        self.accepted: dict[str, int] = {}
        self.processed = 0
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.RESULT_OUT)
        self.create_subscription(PoseStamped, "/ground_truth/pose", self._on_truth, qos.SENSOR_IN)

    def _declare(self, name: str, default: str, description: str) -> str:
        return str(self.declare_parameter(
            name, default, ParameterDescriptor(description=description, read_only=True)).value)

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        position, covariance = message.pose.pose.position, message.pose.covariance
        spread = math.sqrt(max(covariance[0], covariance[7]))
        _remember(self._poses, stamp_of(message), (position.x, position.y, spread))

    def _on_class(self, message: Classification) -> None:
        _remember(self._labels, stamp_of(message), f"{message.label} {message.score:.2f}")

    def _on_truth(self, message: PoseStamped) -> None:
        self._truth = (message.pose.position.x, message.pose.position.y)

    @property
    def connected(self) -> bool:
        """Whether the perception node's outputs have been found."""
        return all(s.get_publisher_count() for s in self._outputs)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """How many messages of each input the node has taken, and how many frames it has finished."""
        for status in message.status:
            name, _, key = status.name.partition(": input ")
            values = {v.key: v.value for v in status.values}
            if key and name == self._target:
                self.accepted[key] = int(values["accepted"])
            elif status.name == f"{self._target}: inference":
                self.processed = int(values["frames"])

    def _on_allocation(self, message: LayerAllocation) -> None:
        pose = self._poses.get(stamp_of(message))
        self.records.append(FrameRecord(
            stamp_ns=stamp_of(message), granted=message.granted_limit, spent=message.spent,
            unit=UNITS[message.granted_unit], reason=REASONS[message.reason],
            latency_ms=message.latency_ms, dropped=message.frames_dropped,
            modalities={m.modality: _modality(m) for m in message.modalities},
            position_m=pose[:2] if pose else (math.nan, math.nan), truth_m=self._truth))

    def row(self, record: FrameRecord) -> list[str]:
        """Cells of one frame."""
        unit = SHORT_UNITS[record.unit]
        pose = self._poses.get(record.stamp_ns)
        return [
            f"{(record.stamp_ns - self.records[0].stamp_ns) * 1e-9:6.2f}",
            f"{record.granted:g}{unit}", f"{record.spent:g}{unit}",
            *(_cell(m) for m in record.modalities.values()),
            f"{record.latency_ms:.0f}", str(record.dropped),
            f"{pose[0]:+.2f} {pose[1]:+.2f} ±{pose[2]:.2f}" if pose else f"none ({record.reason})",
            self._labels.get(record.stamp_ns, ""),
        ]

    def table(self, rows: int = 18) -> Table:
        """The last frames."""
        shown = list(self.records)[-rows:]
        names = list(shown[-1].modalities) if shown else []
        table = Table(title="layers run per modality (· held, ! some sensor nodes missing, ✗ missing)",
                      title_justify="left", title_style="dim")
        for column in ("time s", "budget", "spent", *names, "latency ms", "dropped", "x y m", "class"):
            table.add_column(column, justify="left" if column in ("x y m", "class") else "right", no_wrap=True)
        for record in shown:
            table.add_row(*self.row(record))
        return table


class Display:
    """Shows the table: live on a terminal, one line now and then elsewhere (a log, a pipe)."""

    def __init__(self, node: WatchNode, console: Console | None = None) -> None:
        self._node = node
        self._console = console or Console(width=None if sys.stdout.isatty() else 150)
        self._live = Live(node.table(), console=self._console, refresh_per_second=8) if sys.stdout.isatty() else None
        self._printed = -1
        if self._live is not None:
            self._live.start()
        node.create_timer(0.12 if self._live is not None else 0.5, self._refresh)

    def close(self) -> None:
        """Leave the last table on the screen."""
        if self._live is not None:
            self._live.update(self._node.table())
            self._live.stop()

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._node.table())
        elif self._node.records and self._node.records[-1].stamp_ns != self._printed:
            record = self._node.records[-1]
            cells = self._node.row(record)
            names = ["t", "budget", "spent", *record.modalities, "ms", "dropped", "at", "class"]
            self._console.print("  ".join(f"{n} {c}" for n, c in zip(names, cells, strict=True)), highlight=False)
            self._printed = record.stamp_ns


def stamp_of(message: object) -> int:
    """Header stamp in nanoseconds."""
    stamp = message.header.stamp
    return stamp.sec * 10**9 + stamp.nanosec


def _remember(store: dict, key: int, value: object, limit: int = 200) -> None:
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


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run admn_ros watch`."""
    shown: list[tuple[WatchNode, Display]] = []

    def make() -> WatchNode:
        node = WatchNode()
        shown.append((node, Display(node)))
        return node

    code = run_node(make, args)
    for node, display in shown:
        display.close()
        if node.picture and node.records:
            draw_timeline(list(node.records), Path(node.picture))
            print(f"picture: {node.picture}")
    return code


if __name__ == "__main__":
    sys.exit(main())
