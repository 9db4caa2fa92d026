# SPDX-License-Identifier: Apache-2.0
"""How many layers a battery leaves."""

from __future__ import annotations

import math
from dataclasses import dataclass

from admn_ros.errors import InputError
from admn_ros.governor.config import GovernorConfig


@dataclass(frozen=True)
class Battery:
    """State of a battery. charge: range [0, 1]. charging: also true when it is full on a charger.

    Raises:
        InputError: the charge is NaN or out of range. 85 for 85 % is refused, not guessed.
    """

    charge: float
    charging: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.charge <= 1.0:
            raise InputError("battery.percentage", self.charge, "a number in [0, 1]")


def battery_layers(config: GovernorConfig, battery: Battery, max_layers: int) -> float:
    """The most layers for a battery: inf where it does not limit.

    While charging, and from `battery_high` up, no limit. Down to `battery_low` a straight line from `max_layers`
    to `battery_low_layers`; below it `battery_low_layers`; at and below `battery_critical` `min_layers`.
    """
    if battery.charging or battery.charge >= config.battery_high:
        return math.inf
    if battery.charge <= config.battery_critical:
        return float(config.min_layers)
    low = min(config.battery_low_layers, max_layers)
    share = (battery.charge - config.battery_low) / (config.battery_high - config.battery_low)
    return max(low + max(0.0, share) * (max_layers - low), float(config.min_layers))
