# SPDX-License-Identifier: Apache-2.0
"""Parameters of the governor node: its own, and every number of the law."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from admn_ros.config import parse_config
from admn_ros.governor.config import GovernorConfig
from admn_ros.nodes.parameters import AUTOSTART, DIAGNOSTICS_PERIOD, Spec


def _law() -> tuple[Spec, ...]:
    """One parameter for each field of the configuration, with its description and range."""
    specs = []
    for name, field in GovernorConfig.model_fields.items():
        bounds = {kind: getattr(m, kind) for m in field.metadata for kind in ("ge", "le") if hasattr(m, kind)}
        specs.append(Spec(name, field.default, field.description or "", live=True,
                          low=bounds.get("ge"), high=bounds.get("le")))
    return tuple(specs)


PARAMETERS = (
    Spec("model", "", "Model folder, or name of a shipped model, for its layers and measured costs. Without a model, "
                      "max_layers and joules_per_layer are used, and only requests in layers can be converted."),
    AUTOSTART,
    Spec("priority", 100, "Priority of the published budget. The perception node follows the highest that is valid.",
         live=True, low=-2**31, high=2**31 - 1),
    Spec("period_s", 0.2, "Publishing period of the budget, in seconds.", low=0.02, high=1.0),
    Spec("valid_for_s", 1.0, "Validity of a published budget, in seconds: without a new one the perception node falls "
                             "back to its own default after this time. At least two periods.",
         live=True, low=0.04, high=3600.0),
    DIAGNOSTICS_PERIOD,
    *_law(),
)


def governor_config(values: Mapping[str, Any]) -> GovernorConfig:
    """Return the governor's configuration from the parameters of its node.

    Raises:
        ConfigError: the values do not fit together.
    """
    return parse_config(GovernorConfig, {name: values[name] for name in GovernorConfig.model_fields}, "parameters")
