# SPDX-License-Identifier: Apache-2.0
"""Thermal model of a computer: one resistance, one capacity, and a delayed, quantized sensor."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from admn_ros.errors import InputError


@dataclass(frozen=True)
class Plant:
    """Parameters of C dT/dt = heat - (T - ambient) / R.

    Attributes:
        resistance_c_per_w: R, in degrees per watt.
        capacity_j_per_c: C, in joules per degree.
        ambient_c: temperature of the air, in degrees Celsius.
        joules_per_layer: heat of one layer of one frame, in joules; the governor may assume another value.
        sensor_delay_s: delay of the sensor, in seconds.
        sensor_step_c: resolution of the sensor, in degrees.
    """

    resistance_c_per_w: float = 4.0
    capacity_j_per_c: float = 15.0
    ambient_c: float = 35.0
    joules_per_layer: float = 0.02
    sensor_delay_s: float = 1.0
    sensor_step_c: float = 0.5

    def __post_init__(self) -> None:
        for field in ("resistance_c_per_w", "capacity_j_per_c", "joules_per_layer"):
            if not getattr(self, field) > 0:
                raise InputError(field, getattr(self, field), "a number above 0")

    def settled_c(self, watts: float) -> float:
        """Return the steady-state temperature at a constant heat."""
        return self.ambient_c + self.resistance_c_per_w * watts


class WarmBody:
    """State of a plant, integrated exactly for heat that is constant within a step."""

    def __init__(self, plant: Plant, step_s: float) -> None:
        self._plant = plant
        self._share = 1.0 - math.exp(-step_s / (plant.resistance_c_per_w * plant.capacity_j_per_c))
        self.temperature_c = plant.ambient_c
        late = round(plant.sensor_delay_s / step_s) + 1
        self._history = deque([plant.ambient_c] * late, maxlen=late)

    def heat(self, watts: float) -> None:
        """Advance by one step at a constant heat, in watts."""
        self.temperature_c += self._share * (self._plant.settled_c(watts) - self.temperature_c)
        self._history.append(self.temperature_c)

    def reading_c(self) -> float:
        """Return the sensor reading: the delayed temperature, rounded to the resolution."""
        step_c = self._plant.sensor_step_c
        return round(self._history[0] / step_c) * step_c if step_c > 0 else self._history[0]
