# SPDX-License-Identifier: Apache-2.0
"""Parameters of the perception node: one table, used to declare, check and document them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from admn_ros.nodes.conversions import UNITS


@dataclass(frozen=True)
class Spec:
    """One parameter. live: may change while the node is configured; otherwise only before. fixed: only at start-up."""

    name: str
    default: object
    description: str
    live: bool = False
    fixed: bool = False
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def descriptor(self) -> ParameterDescriptor:
        """As ROS shows it."""
        when = ("Can be given at start-up alone." if self.fixed else
                "Can change at any time." if self.live else "Can change while unconfigured.")
        floats, integers = [], []
        if self.low is not None and self.high is not None:
            if isinstance(self.default, int):
                integers = [IntegerRange(from_value=int(self.low), to_value=int(self.high), step=0)]
            else:
                floats = [FloatingPointRange(from_value=self.low, to_value=self.high, step=0.0)]
        return ParameterDescriptor(
            description=f"{self.description} {when}", read_only=self.fixed,
            floating_point_range=floats, integer_range=integers,
            additional_constraints=f"one of: {', '.join(self.choices)}" if self.choices else "")


PARAMETERS = (
    Spec("model", "", "Model folder, name of a shipped model, or untrained:PRESET for random weights."),
    Spec("sensors", "gdtm", "Deployment file (sensor nodes, topics, synchronization), or the name of one in config/."),
    Spec("device", "auto", "Where the network runs.", choices=("auto", "cpu", "cuda")),
    Spec("threads", 0, "CPU threads of the network; 0: half the cores, at most four.", low=0, high=256),
    Spec("autostart", False, "Configure and activate at start-up, without a lifecycle manager.", fixed=True),
    Spec("budget_limit", -1.0, "Budget while nobody publishes one on ~/budget; -1 takes the deployment file's.",
         live=True, low=-1.0, high=1e9),
    Spec("budget_unit", "layers", "Unit of budget_limit.", live=True, choices=UNITS),
    Spec("frame_rate_hz", 15.0, "Frames per second that watts are divided by, or the measured rate if higher.",
         live=True, low=0.1, high=1000.0),
    Spec("poll_period_s", 0.01, "How often waiting frames are looked at.", live=True, low=0.001, high=0.5),
    Spec("tracking", True, "Publish ~/odometry: a Kalman filter over the estimates."),
    Spec("tracking_acceleration", 2.0, "Density of the target's acceleration, m^2/s^3.", low=1e-4, high=1e4),
    Spec("tracking_spread", 2.0, "The filter takes the estimates' standard deviations times this: errors of "
         "neighbouring frames are alike.", low=0.1, high=100.0),
    Spec("tracking_gate", 0.99, "An estimate beyond this share of what the filter expects is not used.",
         low=0.5, high=0.999999),
    Spec("tracking_timeout_s", 1.0, "Without an estimate for so long the track ends.", low=0.05, high=60.0),
    Spec("tracking_none_above", 0.5, "A frame whose class is none with this probability shows no target.",
         low=0.01, high=1.0),
    Spec("target_frame", "target", "child_frame_id of ~/odometry."),
    Spec("debug_image_rate_hz", 5.0, "Most debug pictures per second, while somebody listens.", live=True, low=0.1,
         high=60.0),
    Spec("diagnostics_period_s", 1.0, "How often /diagnostics is published.", live=True, low=0.1, high=60.0),
)


def declare(node: Node, specs: Sequence[Spec] = PARAMETERS) -> None:
    """Declare every parameter with description, range and choices.

    ROS refuses values out of range and of the wrong type by itself.
    """
    for spec in specs:
        node.declare_parameter(spec.name, spec.default, spec.descriptor())


def problem(parameter: Parameter, unconfigured: bool,
            specs: Sequence[Spec] = PARAMETERS) -> tuple[str, object, str] | None:
    """Why a value cannot be taken now: the parameter, what was found, what is allowed. None when it can."""
    spec = next((s for s in specs if s.name == parameter.name), None)
    if spec is None:
        return None
    if not spec.live and not unconfigured:
        return spec.name, "a change while configured", "only while unconfigured (run cleanup first)"
    if spec.choices and parameter.value not in spec.choices:
        return spec.name, repr(parameter.value), ", ".join(spec.choices)
    if spec.name == "budget_limit" and -1.0 < parameter.value < 0.0:
        return spec.name, parameter.value, "0 or more, or -1 for the deployment file's"
    return None
