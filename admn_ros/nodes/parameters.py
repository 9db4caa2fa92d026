# SPDX-License-Identifier: Apache-2.0
"""Parameters of a node as one table, from which they are declared, checked and documented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from admn_ros.errors import ConfigError


@dataclass(frozen=True)
class Spec:
    """One parameter.

    Attributes:
        name: name of the parameter.
        default: default value; its type is the type of the parameter.
        description: what the parameter sets, with its unit.
        live: whether it may change while the node is configured.
        fixed: whether it can be set at start-up only.
        low, high: range of a number; ROS enforces it.
        choices: allowed values of a string; empty for any.
    """

    name: str
    default: object
    description: str
    live: bool = False
    fixed: bool = False
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def descriptor(self) -> ParameterDescriptor:
        """Return the descriptor that `ros2 param describe` shows."""
        when = ("Set at start-up only." if self.fixed else
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


AUTOSTART = Spec("autostart", False, "Configure and activate at start-up, without a lifecycle manager.", fixed=True)
DIAGNOSTICS_PERIOD = Spec("diagnostics_period_s", 1.0, "Publishing period of /diagnostics, in seconds.", live=True,
                          low=0.1, high=60.0)


def declare(node: Node, specs: Sequence[Spec]) -> None:
    """Declare parameters with description, range and choices.

    ROS itself refuses values of another type or out of range.
    """
    for spec in specs:
        node.declare_parameter(spec.name, spec.default, spec.descriptor())


def refusal(parameter: Parameter, specs: Sequence[Spec], unconfigured: bool) -> ConfigError | None:
    """Return why a value cannot be set now; None if it can, or if the parameter is none of `specs`."""
    spec = next((s for s in specs if s.name == parameter.name), None)
    if spec is None:
        return None
    if not spec.live and not unconfigured:
        return ConfigError(spec.name, "a change while configured", "a change while unconfigured (run cleanup first)")
    if spec.choices and parameter.value not in spec.choices:
        return ConfigError(spec.name, repr(parameter.value), ", ".join(spec.choices))
    return None
