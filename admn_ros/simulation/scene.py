# SPDX-License-Identifier: Apache-2.0
"""What stands where in a simulated room. Sensors and renderers read it and change nothing."""

from __future__ import annotations

from dataclasses import dataclass

from admn_ros.simulation.moving_target import CEILING_M, ROOM_HALF_M, Box, SensorNode, furniture, sensor_nodes


@dataclass(frozen=True)
class Scene:
    """A room with its clutter, its sensor nodes and the class of its target.

    Frame `map` (REP-103): metres, origin in the middle of the track on the floor, z up.
    OptiTrack's frame, which GDTM's labels use, has y up: (x, y, z) there is (x, -z, y) in `map`.

    seed: everything random about the room follows from it.
    room_half_m: half the inner size of the room along x and y; the walls stand there.
    clutter: boxes that stand still, without the tripods.
    nodes: the sensor nodes.
    target: "red_car", "green_car" or "none".
    """

    seed: int
    room_half_m: tuple[float, float]
    ceiling_m: float
    clutter: tuple[Box, ...]
    nodes: tuple[SensorNode, ...]
    target: str

    @classmethod
    def plain(cls, target: str = "red_car", nodes: int = 3) -> Scene:
        """The fixed room of the demo recording."""
        return cls(0, ROOM_HALF_M, CEILING_M, tuple(furniture()[:7]), tuple(sensor_nodes(nodes)), target)
