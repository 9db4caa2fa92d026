# SPDX-License-Identifier: Apache-2.0
"""A sensor node of the room: a tripod with four sensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from admn_ros.simulation.scene.geometry import Pose

MAX_NODES = 3


@dataclass(frozen=True)
class SensorNode:
    """A tripod with four sensors.

    Attributes:
        name: name of the node.
        base: pose in `map`; level, x towards the track.
        tilt_rad: downward tilt of the cameras.
    """

    name: str
    base: Pose
    tilt_rad: float = 0.27

    @property
    def sensors(self) -> dict[str, Pose]:
        """Poses of the sensors in `base`, by frame suffix. Optical frames follow REP-103: z forward, x right."""
        c, s = np.cos(self.tilt_rad), np.sin(self.tilt_rad)
        optical = np.array([[0, -s, c], [-1, 0, 0], [0, -c, -s]])
        level = np.eye(3)
        return {
            "rgb_optical": Pose(optical, np.array([0.05, 0.02, 0.03])),
            "depth_optical": Pose(optical, np.array([0.05, -0.02, 0.03])),
            "radar": Pose(level, np.array([0.05, 0.0, -0.05])),
            "microphones": Pose(level, np.array([0.0, 0.0, 0.12])),
        }

    def sensor(self, suffix: str) -> Pose:
        """Return the pose of a sensor in `map`."""
        return self.base @ self.sensors[suffix]
