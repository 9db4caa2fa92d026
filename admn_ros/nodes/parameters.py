# SPDX-License-Identifier: Apache-2.0
"""Parameters of a node as one table, from which they are declared, checked and documented."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from admn_ros.errors import ConfigError

MOST_NAMES = 8
"""Unknown parameters that one warning names."""
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


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

    def allowed(self) -> str:
        """Return which values are allowed."""
        if self.choices:
            return ", ".join(self.choices)
        kind = _KINDS.get(type(self.default), "a list of strings")
        low, high = (int(x) if isinstance(self.default, int) and x is not None else x for x in (self.low, self.high))
        return kind if low is None or high is None else f"{kind} from {low} to {high}"


AUTOSTART = Spec("autostart", False, "Configure and activate at start-up, without a lifecycle manager.", fixed=True)
DIAGNOSTICS_PERIOD = Spec("diagnostics_period_s", 1.0, "Publishing period of /diagnostics, in seconds.", live=True,
                          low=0.1, high=60.0)


def declare(node: Node, specs: Sequence[Spec]) -> dict[str, Any]:
    """Declare parameters with description, range and choices, and return their values by name.

    A whole number is a value of a double.

    Raises:
        ConfigError: a value that was given has another type, or is out of range. The parameter is not declared then.
    """
    return {spec.name: _declare(node, spec).value for spec in specs}


def _declare(node: Node, spec: Spec) -> Parameter:
    try:
        return node.declare_parameter(spec.name, spec.default, spec.descriptor())
    except (InvalidParameterTypeException, InvalidParameterValueException):
        # ROS takes the type of a value from its text. A declaration of any type shows the value that was given.
        given = node.declare_parameter(spec.name, spec.default, ParameterDescriptor(dynamic_typing=True))
        node.undeclare_parameter(spec.name)
    error = ConfigError(spec.name, repr(given.value), spec.allowed())
    if not (isinstance(spec.default, float) and given.type_ is Parameter.Type.INTEGER):
        raise error
    try:
        return node.declare_parameter(spec.name, float(given.value), spec.descriptor(), ignore_override=True)
    except InvalidParameterValueException:
        raise error from None


def warn_of_unknown(node: Node) -> None:
    """Log parameters that were given to a node and that it does not have. ROS ignores them in silence.

    Call it when all parameters of the node are declared.
    """
    # Those of a topic whose QoS cannot be overridden here may belong to a node that shares the section /**.
    unknown = [name for name in node._parameter_overrides
               if not node.has_parameter(name) and not name.startswith("qos_overrides.")]
    if not unknown:
        return
    known = node.list_parameters([], 0).names
    similar = {name: difflib.get_close_matches(name, known, 1) for name in unknown}
    unknown.sort(key=lambda name: not similar[name])
    shown = [f"{name} (like {similar[name][0]})" if similar[name] else name for name in unknown[:MOST_NAMES]]
    more = f" and {len(unknown) - MOST_NAMES} more" if len(unknown) > MOST_NAMES else ""
    node.get_logger().warning(f"parameters: found unknown {', '.join(shown)}{more}, which are not used; allowed: those "
                              f"of `ros2 param list {node.get_fully_qualified_name()}`")


def accept_whole_numbers(node: Node) -> None:
    """Convert whole numbers to doubles before declared doubles of a node are set."""

    def convert(changes: list[Parameter]) -> list[Parameter]:
        return [Parameter(p.name, value=float(p.value)) if p.type_ is Parameter.Type.INTEGER
                and node.has_parameter(p.name) and node.get_parameter(p.name).type_ is Parameter.Type.DOUBLE else p
                for p in changes]

    node.add_pre_set_parameters_callback(convert)


def usage(program: str, about: str, specs: Sequence[Spec]) -> str:
    """Return the help text of a node.

    Args:
        program: name of its program.
        about: docstring of its module; the first line describes the node.
        specs: parameters of the node.
    """
    lines = [f"usage: ros2 run admn_ros {program} [--help] [--ros-args [-p NAME:=VALUE] [--params-file FILE] "
             "[-r FROM:=TO] [--log-level LEVEL]]", "", about.strip().splitlines()[0], "", "parameters:"]
    for spec in specs:
        default = str(spec.default).lower() if isinstance(spec.default, bool) else repr(spec.default)
        lines.append(f"  {spec.name}: {spec.allowed()}; default {default}")
        lines += textwrap.wrap(spec.description, 110, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines)


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
