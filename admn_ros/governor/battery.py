# SPDX-License-Identifier: Apache-2.0
"""Layer limit by battery charge."""

from __future__ import annotations

import math
from dataclasses import dataclass

from admn_ros.errors import InputError
from admn_ros.governor.config import GovernorConfig


@dataclass(frozen=True)
class Battery:
    """State of a battery.

    Attributes:
        charge: state of charge, in [0, 1].
        charging: whether it is connected to a charger, also when full.

    Raises:
        InputError: the charge is NaN or out of range. 85 for 85 % is refused.
    """

    charge: float
    charging: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.charge <= 1.0:
            raise InputError("battery.percentage", self.charge, "a number in [0, 1]")


def emptier(one: Battery, other: Battery) -> Battery:
    """Return the battery state of two that allows fewer layers."""
    return min(one, other, key=lambda battery: (battery.charging, battery.charge))


def battery_layers(config: GovernorConfig, battery: Battery, max_layers: int) -> float:
    """Return the layer limit of a battery; inf without a limit.

    There is no limit while charging, or from `battery_high` up. From there down to `battery_low` the limit falls
    linearly from `max_layers` to `battery_low_layers`. Below `battery_low` it is `battery_low_layers`, and at or below
    `battery_critical` it is `min_layers`.
    """
    if battery.charging or battery.charge >= config.battery_high:
        return math.inf
    if battery.charge <= config.battery_critical:
        return float(config.min_layers)
    low = min(config.battery_low_layers, max_layers)
    share = (battery.charge - config.battery_low) / (config.battery_high - config.battery_low)
    return max(low + max(0.0, share) * (max_layers - low), float(config.min_layers))
