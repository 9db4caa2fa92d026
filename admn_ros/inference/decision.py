# SPDX-License-Identifier: Apache-2.0
"""What was decided about each input of a frame, and why: from an allocation, from its message, and as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from admn_ros.model.allocation import Allocation


@dataclass(frozen=True)
class InputDecision:
    """One input, a modality at a sensor node. The names are those of `InputAllocation.msg`.

    Attributes:
        modality: name of the modality.
        sensor_node: name of the sensor node.
        value: predicted value of what ran, or of the first layer if nothing ran; NaN if it is not known.
        cost: its share of the cost if it ran, else what its first layer alone would have cost; 0 without a reading.
        ran: whether it ran.
        why: why it ran or not, in a few words.
    """

    modality: str
    sensor_node: str
    value: float
    cost: float
    ran: bool
    why: str

    @property
    def name(self) -> str:
        """Name of the input, such as `node2/depth`."""
        return f"{self.sensor_node}/{self.modality}"

    def text(self, unit: str) -> str:
        """Return the decision as one line, such as `node2/depth did not run: no reading`.

        Args:
            unit: unit of the cost.
        """
        known = [] if math.isnan(self.value) else [f"value {self.value:.3g}"]
        known += [f"cost {self.cost:.3g} {unit}"] if self.cost else []
        if self.ran:
            return f"{self.name} ran" + (f": {', '.join(known)}" if known else "")
        return f"{self.name} did not run: {self.why}" + (f" ({', '.join(known)})" if known else "")


@dataclass(frozen=True)
class FrameDecision:
    """One frame.

    Attributes:
        stamp_ns: stamp of the frame.
        granted: budget in `unit`.
        spent: cost in `unit`.
        unit: unit of budget and costs.
        reason: the outcome in one sentence.
        inputs: what was decided about each input; empty if that is not known.
    """

    stamp_ns: int
    granted: float
    spent: float
    unit: str
    reason: str
    inputs: tuple[InputDecision, ...]

    def text(self) -> str:
        """Return budget, cost and outcome of the frame as one line."""
        limit = "no limit" if math.isinf(self.granted) else f"{self.granted:.6g} {self.unit}"
        return f"budget {limit}, spent {self.spent:.6g} {self.unit}: {self.reason}"


class InputMessage(Protocol):
    """`admn_ros/msg/InputAllocation`, of ROS or of a recording."""

    modality: str
    sensor_node: str
    value: float
    cost: float
    ran: bool
    why: str


def input_decisions(allocation: Allocation, sensor_nodes: Sequence[str]) -> tuple[InputDecision, ...]:
    """Return the decisions of an allocation.

    Args:
        allocation: allocation of a frame.
        sensor_nodes: names of the sensor nodes, in the model's order.
    """
    return tuple(InputDecision(str(i.modality), sensor_nodes[i.node], i.value, i.cost, i.ran, i.why)
                 for i in allocation.inputs)


def received_decisions(inputs: Iterable[InputMessage]) -> tuple[InputDecision, ...]:
    """Return the decisions of a message."""
    return tuple(InputDecision(i.modality, i.sensor_node, float(i.value), float(i.cost), bool(i.ran), i.why)
                 for i in inputs)


def left_out(inputs: Sequence[InputDecision]) -> list[str]:
    """Return why inputs did not run: one line for each reason, such as `radar, node2/rgb: no reading`.

    The name of a modality stands for all its sensor nodes.
    """
    reasons: dict[str, dict[str, list[str]]] = {}
    for each in inputs:
        if not each.ran:
            reasons.setdefault(each.why, {}).setdefault(each.modality, []).append(each.name)
    nodes = len({each.sensor_node for each in inputs})
    return [", ".join(modality if len(names) == nodes > 1 else ", ".join(names) for modality, names in found.items())
            + f": {why}" for why, found in reasons.items()]
