# SPDX-License-Identifier: Apache-2.0
"""Size and state of the car, a 1:12 model."""

from __future__ import annotations

from dataclasses import dataclass

from admn_ros.simulation.scene.geometry import Floats

CAR_SIZE_M = (0.36, 0.17, 0.12)     # length, width, height
CAR_CENTRE_Z_M = CAR_SIZE_M[2] / 2


@dataclass(frozen=True)
class CarState:
    """State of the car at one or several times.

    Attributes:
        position_m: position (..., 2) in `map`.
        heading_rad: direction of travel (...,), from x counter-clockwise.
        speed_mps: speed (...,).
    """

    position_m: Floats
    heading_rad: Floats
    speed_mps: Floats
