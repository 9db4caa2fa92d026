# SPDX-License-Identifier: Apache-2.0
"""Messages for the governor, received or recorded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from admn_ros.budget.compute_budget import BudgetRequest, read_budget, source_name
from admn_ros.errors import InputError, one_line
from admn_ros.governor.battery import Battery
from admn_ros.governor.diagnostics_parser import read_status
from admn_ros.governor.governor import Governor, Kind

CHARGING = frozenset({1, 4})
"""BatteryState.POWER_SUPPLY_STATUS_CHARGING and POWER_SUPPLY_STATUS_FULL."""
ROUNDING = 1e-6
"""Excess over a charge of 1 that is rounding, since messages hold 32-bit numbers."""


class GovernorInputs:
    """Decoder between messages and a governor.

    Messages of rclpy and of a bag reader are accepted alike, because only their fields are read. A sensor is named
    TOPIC/FRAME, in diagnostics TOPIC/HARDWARE/STATUS, so that two sensors that share a frame stay apart.

    Args:
        governor: receives requests and measurements.
        on_refused: receives the source of each value that cannot be used, and the reason; other values of the message
            still count.
    """

    def __init__(self, governor: Governor, on_refused: Callable[[str, InputError], None]) -> None:
        self._governor, self._on_refused = governor, on_refused

    def request(self, request: BudgetRequest, now_s: float, clock_ns: int, key: str | None = None) -> None:
        """Pass the request of a power manager to the governor. See `BudgetBook.take`."""
        try:
            doubt = self._governor.take(request, now_s, clock_ns, key)
        except InputError as error:
            doubt = error
        if doubt is not None:
            self._on_refused(request.source, doubt)

    def take(self, topic: str, message: Any, now_s: float, clock_ns: int) -> None:
        """Pass a message to the governor.

        Args:
            topic: full name of the topic.
            message: `ComputeBudget`, `DiagnosticArray`, `BatteryState`, `Temperature`, or `Float32` in watts.
            now_s: arrival time on a monotonic clock, in seconds.
            clock_ns: the same on the clock that stamps refer to, in nanoseconds.
        """
        if hasattr(message, "valid_for"):
            try:
                request = read_budget(message)
            except InputError as error:
                self._on_refused(source_name(message.source), error)
                return
            self.request(request, now_s, clock_ns)
        elif hasattr(message, "status"):
            self._take_diagnostics(topic, message, now_s)
        elif hasattr(message, "percentage"):  # before temperature, which a battery has too
            self._take_battery(_sensor(topic, message.header.frame_id), message, now_s)
        elif hasattr(message, "temperature"):
            self._put("temperature", _sensor(topic, message.header.frame_id), message.temperature, now_s)
        else:
            self._put("watts", topic, message.data, now_s)

    def _take_battery(self, name: str, message: Any, now_s: float) -> None:
        if self._governor.ignores(name):
            return
        if _is_absent(message):
            self._governor.battery_off(name)
            return
        try:
            charge = message.percentage
            charge = min(charge, 1.0) if charge <= 1.0 + ROUNDING else charge
            battery = Battery(charge, message.power_supply_status in CHARGING)
            self._governor.battery(name, battery, now_s)
        except InputError as error:
            # Above 1 it is in percent. Then 1.0 from the same battery may be 1 %, so none of its values is trusted.
            self._refuse("battery", name, error, lasting=message.percentage > 1)

    def _take_diagnostics(self, topic: str, message: Any, now_s: float) -> None:
        for status in message.status:
            place = _sensor(topic, status.hardware_id)
            found = read_status(status.name, status.message, [(v.key, v.value) for v in status.values])
            for name, celsius in found.temperatures_c.items():
                self._put("temperature", _sensor(place, name), celsius, now_s)
            for name, watts in found.watts.items():
                self._put("watts", _sensor(place, name), watts, now_s)
            for name in found.offline:
                self._governor.temperature_off(_sensor(place, name))
            for refused in found.refused:
                self._refuse(refused.kind, _sensor(place, refused.name), refused.error, measures=refused.numeric)

    def _put(self, kind: Kind, name: str, value: float, now_s: float) -> None:
        if self._governor.ignores(name):
            return
        put = self._governor.temperature if kind == "temperature" else self._governor.watts
        try:
            put(name, value, now_s)
        except InputError as error:
            self._refuse(kind, name, error)

    def _refuse(self, kind: Kind, name: str, error: InputError, measures: bool = True, lasting: bool = False) -> None:
        if self._governor.ignores(name):
            return
        if measures:
            self._governor.doubt(kind, name, error, lasting)
        self._on_refused(name, error)


def _sensor(topic: str, name: str) -> str:
    return one_line(f"{topic}/{name.strip('/')}" if name.strip("/") else topic)


def _is_absent(message: Any) -> bool:
    """Return whether a battery was taken out. Drivers that never fill in `present` still give a charge or a voltage."""
    if getattr(message, "present", True):
        return False
    return not (message.percentage > 0 or getattr(message, "voltage", math.nan) > 0)
