# SPDX-License-Identifier: Apache-2.0
"""The track of the GDTM room: a mat of 3.0 x 3.6 m with taped lines and markers.

Frame `map`: metres, origin in the middle of the track on the floor, z up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from admn_ros.simulation.scene.geometry import Floats

MAT_HALF_M = (1.5, 1.8)
# Printed markers lie on the mat: centre x and y, and side, in metres.
MARKERS = ((-0.35, 0.3, 0.26), (0.35, 0.1, 0.26), (-0.1, -0.4, 0.26))


@dataclass(frozen=True)
class RoundedSquare:
    """A square with round corners around the origin.

    Attributes:
        half_m: distance of the sides from the centre.
        radius_m: radius of the corners.
    """

    half_m: float
    radius_m: float

    @property
    def length_m(self) -> float:
        """Length of the closed line."""
        return 8 * (self.half_m - self.radius_m) + 2 * np.pi * self.radius_m

    def at(self, distance_m: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Return positions (..., 2) in metres and headings (...,) in radians at distances along the line.

        The line runs counter-clockwise and starts at the lower end of the right side.
        """
        quarter_m, straight = self.length_m / 4, 2 * (self.half_m - self.radius_m)
        distance = np.asarray(distance_m, dtype=np.float64) % self.length_m
        quarter = np.floor(distance / quarter_m)
        along = distance - quarter * quarter_m
        turn = np.clip((along - straight) / self.radius_m, 0, np.pi / 2)
        inner = self.half_m - self.radius_m
        x = inner + self.radius_m * np.cos(turn)
        y = np.minimum(along, straight) - inner + self.radius_m * np.sin(turn)
        c, s = np.cos(quarter * np.pi / 2), np.sin(quarter * np.pi / 2)
        heading = np.pi / 2 * (1 + quarter) + turn
        return np.stack([c * x - s * y, s * x + c * y], axis=-1), (heading + np.pi) % (2 * np.pi) - np.pi


DRIVEN = RoundedSquare(1.085, 0.45)
OUTER_LINE = RoundedSquare(1.42, 0.5)
INNER_LINE = RoundedSquare(0.75, 0.2)
