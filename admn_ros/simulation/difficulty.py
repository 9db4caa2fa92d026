# SPDX-License-Identifier: Apache-2.0
"""What makes a simulated room harder: a second car, people who walk through it, and noisier sensors."""

from __future__ import annotations

from dataclasses import dataclass

from admn_ros.errors import InputError

MOST_PEOPLE = 6
MOST_SENSOR_NOISE = 2.0


@dataclass(frozen=True)
class Difficulty:
    """Difficulties of a simulation. The default has none, and changes nothing.

    Attributes:
        second_car: share of rooms, 0 to 1, in which a blue car drives that is not the target.
        people: largest number of people in a room, 0 to 6; each room draws from 0 to this number.
        sensor_noise: noise of the sensors, 0 to 2; 0 for good sensors in good light, 1 for typical ones indoors.
    """

    second_car: float = 0.0
    people: int = 0
    sensor_noise: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.second_car <= 1:
            raise InputError("second_car", self.second_car, "0 to 1")
        if not 0 <= self.people <= MOST_PEOPLE:
            raise InputError("people", self.people, f"0 to {MOST_PEOPLE}")
        if not 0 <= self.sensor_noise <= MOST_SENSOR_NOISE:
            raise InputError("sensor_noise", self.sensor_noise, f"0 to {MOST_SENSOR_NOISE:g}")


PLAIN = Difficulty()
