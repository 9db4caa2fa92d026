# SPDX-License-Identifier: Apache-2.0
"""What a launch file describes, read without the ROS package `launch`.

The launch file itself runs, against classes of the same names that only keep their arguments.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("launch", "launch.actions", "launch.event_handlers", "launch.events", "launch.events.process",
           "launch.substitutions", "launch_ros", "launch_ros.actions", "launch_ros.substitutions")


class Entity:
    """An action, event or handler: the arguments that it was made with."""

    def __init__(self, *args: Any, **values: Any) -> None:
        self.args, self.values = args, values

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name}") from None


class LaunchConfiguration(Entity):
    def perform(self, context: Mapping[str, str]) -> str:
        return context.get(self.args[0], self.values.get("default"))


class Context(dict[str, str]):
    """Values of the launch arguments, as a launch context has them."""

    @property
    def launch_configurations(self) -> Context:
        return self


class FindPackageShare(Entity):
    def perform(self, context: Mapping[str, str]) -> str:
        if self.args[0] != "admn_ros":
            raise LookupError(self.args[0])  # nothing else is installed
        return str(ROOT)


def performed(value: Any, context: Mapping[str, str]) -> str:
    """The text of a substitution, or of a text."""
    return str(value.perform(context) if hasattr(value, "perform") else value)


@dataclass(frozen=True)
class Description:
    """What a launch file describes for some arguments.

    Attributes:
        values: value of each launch argument.
        defaults: default of each launch argument.
        choices: allowed values of each launch argument that has some.
        actions: nodes, events and handlers, in order.
    """

    values: dict[str, str]
    defaults: dict[str, str]
    choices: dict[str, list[str]]
    actions: list[Entity]

    @property
    def nodes(self) -> list[Entity]:
        """The nodes that it starts."""
        return [a for a in self.actions if type(a).__name__ == "Node"]

    def of(self, kind: str) -> Iterator[Entity]:
        """Its actions of a kind, such as `EmitEvent`."""
        return (a for a in self.actions if type(a).__name__ == kind)


def describe(path: Path, unknown: Mapping[str, str] | None = None, **arguments: str) -> Description:
    """Run a launch file.

    Args:
        path: launch file.
        unknown: arguments that the launch file does not have.
        arguments: launch arguments that are not the defaults, and `ros_namespace`, which PushRosNamespace sets.
    """
    known = {c.__name__: c for c in (LaunchConfiguration, FindPackageShare)}
    replaced = {name: sys.modules.get(name) for name in MODULES}
    try:
        for name in MODULES:
            sys.modules[name] = module = ModuleType(name)
            module.__getattr__ = lambda kind: known.setdefault(kind, type(kind, (Entity,), {}))
        made = runpy.run_path(str(path))["generate_launch_description"]()
    finally:
        for name, module in replaced.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module
    return _described(made.args[0], arguments, unknown or {})


def _described(entities: list[Entity], arguments: dict[str, str], unknown: Mapping[str, str]) -> Description:
    declared = [e for e in entities if type(e).__name__ == "DeclareLaunchArgument"]
    defaults = {e.args[0]: e.default_value for e in declared}
    choices = {e.args[0]: e.choices for e in declared if e.choices}
    assert set(arguments) <= {*defaults, "ros_namespace"}, arguments
    values = {**defaults, **arguments}
    assert all(values[name] in allowed for name, allowed in choices.items()), values
    actions = [action for entity in entities if type(entity).__name__ == "OpaqueFunction"
               for action in entity.function(Context({**values, **unknown}))]
    return Description(values, defaults, choices, actions)
