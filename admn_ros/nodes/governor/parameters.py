# SPDX-License-Identifier: Apache-2.0
"""Parameters of the governor node: its own, and every number of the law."""

from __future__ import annotations

from rclpy.node import Node

from admn_ros.config import parse_config
from admn_ros.governor.config import GovernorConfig
from admn_ros.nodes.parameters import Spec


def _law() -> tuple[Spec, ...]:
    """One parameter for each field of the configuration, with its description and range."""
    specs = []
    for name, field in GovernorConfig.model_fields.items():
        bounds = {kind: getattr(m, kind) for m in field.metadata for kind in ("ge", "le") if hasattr(m, kind)}
        specs.append(Spec(name, field.default, field.description or "", live=True,
                          low=bounds.get("ge"), high=bounds.get("le")))
    return tuple(specs)


PARAMETERS = (
    Spec("model", "", "Model folder, or name of a shipped model: its layers and measured costs. Empty: max_layers "
                      "and joules_per_layer count, and requests in layers alone can be converted."),
    Spec("autostart", False, "Configure and activate at start-up, without a lifecycle manager.", fixed=True),
    Spec("priority", 100, "Priority of the published budget. The perception node follows the highest that is valid.",
         live=True, low=-2**31, high=2**31 - 1),
    Spec("period_s", 0.2, "How often a budget is published.", low=0.02, high=1.0),
    Spec("valid_for_s", 1.0, "How long a published budget holds: when the governor falls silent for so long, the "
                             "perception node takes its own default. At least two periods.",
         live=True, low=0.04, high=3600.0),
    Spec("diagnostics_period_s", 1.0, "How often /diagnostics is published.", low=0.1, high=60.0),
    *_law(),
)


def law_config(node: Node, changes: dict[str, object] | None = None) -> GovernorConfig:
    """The law's numbers from a node's parameters, some of them about to change.

    Raises:
        ConfigError: they do not fit together.
    """
    values = {name: node.get_parameter(name).value for name in GovernorConfig.model_fields}
    values |= {name: value for name, value in (changes or {}).items() if name in values}
    return parse_config(GovernorConfig, values, "parameters")
