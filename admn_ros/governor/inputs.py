# SPDX-License-Identifier: Apache-2.0
"""Messages for the governor, received or recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from admn_ros.budget.compute_budget import read_budget
from admn_ros.errors import InputError
from admn_ros.governor.battery import Battery
from admn_ros.governor.diagnostics_parser import read_status
from admn_ros.governor.governor import Governor

CHARGING = frozenset({1, 4})
"""BatteryState.POWER_SUPPLY_STATUS_CHARGING and POWER_SUPPLY_STATUS_FULL."""


class GovernorInputs:
    """Decoder between messages and a governor.

    Messages of rclpy and of a bag reader are accepted alike, because only their fields are read.

    Args:
        governor: receives requests and measurements.
        on_refused: receives each value that cannot be used; other values of the message still count.
    """

    def __init__(self, governor: Governor, on_refused: Callable[[InputError], None]) -> None:
        self._governor, self._on_refused = governor, on_refused

    def take(self, message: Any, now_s: float) -> None:
        """Pass a message to the governor.

        Args:
            message: `ComputeBudget`, `DiagnosticArray`, `BatteryState`, `Temperature`, or `Float32` in watts.
            now_s: arrival time on a monotonic clock, in seconds.
        """
        try:
            if hasattr(message, "valid_for"):
                self._governor.request(*read_budget(message), now_s)
            elif hasattr(message, "status"):
                self._take_diagnostics(message, now_s)
            elif hasattr(message, "percentage"):  # before temperature, which a battery has too
                battery = Battery(message.percentage, message.power_supply_status in CHARGING)
                self._governor.battery(message.header.frame_id or "battery", battery, now_s)
            elif hasattr(message, "temperature"):
                name = message.header.frame_id or "temperature"
                self._governor.temperature(name, message.temperature, now_s)
            else:
                self._governor.watts("watts", message.data, now_s)
        except InputError as error:
            self._on_refused(error)

    def _take_diagnostics(self, message: Any, now_s: float) -> None:
        for status in message.status:
            found = read_status(status.name, status.message, [(v.key, v.value) for v in status.values])
            for name, celsius in found.temperatures_c.items():
                self._put(self._governor.temperature, name, celsius, now_s)
            for name, watts in found.watts.items():
                self._put(self._governor.watts, name, watts, now_s)
            for name in found.offline:
                self._governor.temperature_off(name)
            for error in found.refused:
                self._on_refused(error)

    def _put(self, put: Callable[[str, float, float], None], name: str, value: float, now_s: float) -> None:
        try:
            put(name, value, now_s)
        except InputError as error:
            self._on_refused(error)
