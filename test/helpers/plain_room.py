# SPDX-License-Identifier: Apache-2.0
"""A fixed room with simple geometry: three sensor nodes 120 degrees apart, seven boxes along the walls."""

import numpy as np

from admn_ros.simulation.scene.geometry import Box, Pose, rotation_z
from admn_ros.simulation.scene.scene import Scene
from admn_ros.simulation.scene.sensor_node import SensorNode

_CLUTTER = (
    Box((-1.6, 3.55, 0.5), (1.1, 0.22, 0.5), (0.30, 0.16, 0.07)),
    Box((1.5, 3.5, 0.36), (0.8, 0.28, 0.36), (0.05, 0.05, 0.06)),
    Box((-3.1, -0.6, 0.45), (0.25, 0.9, 0.45), (0.12, 0.13, 0.16)),
    Box((3.1, 0.5, 0.75), (0.25, 0.5, 0.75), (0.35, 0.22, 0.12)),
    Box((2.9, -2.2, 0.2), (0.25, 0.3, 0.2), (0.05, 0.18, 0.45), 0.4),
    Box((-2.2, -3.3, 0.4), (0.9, 0.35, 0.4), (0.28, 0.27, 0.25)),
    Box((1.3, -3.55, 0.55), (0.5, 0.2, 0.55), (0.15, 0.10, 0.06)),
)


def _node(number: int) -> SensorNode:
    """A node 2.5 m from the middle of the track, facing it; node 1 looks along +y."""
    angle = np.deg2rad(-90 + 120 * number)
    position = np.array([2.5 * np.cos(angle), 2.5 * np.sin(angle), 0.8])
    return SensorNode(f"node{number + 1}", Pose(rotation_z(float(angle + np.pi)), position))


PLAIN_ROOM = Scene(0, (3.4, 3.8), 2.7, _CLUTTER, tuple(_node(k) for k in range(3)), "red_car")
