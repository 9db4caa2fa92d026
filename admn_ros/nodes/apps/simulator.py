# SPDX-License-Identifier: Apache-2.0
"""Simulate the GDTM room live: every sensor topic, calibration, ground truth and /clock.

On a machine that is too slow for real time, simulated time slows down and nothing is lost.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from rcl_interfaces.msg import IntegerRange, ParameterDescriptor

from admn_ros.nodes.apps.player import Item, Player
from admn_ros.nodes.run_node import run_node
from admn_ros.recordings.bag_types import typestore
from admn_ros.simulation.events import demo_events
from admn_ros.simulation.streams import play, world_streams, world_topics
from admn_ros.simulation.world import World


class SimulatorNode(Player):
    """Simulates `seconds` of a room, then ends the process."""

    catches_up = False

    def __init__(self, name: str = "simulator", **kwargs: object) -> None:
        super().__init__(name, **kwargs)
        self._seed = self.declare_parameter("seed", 7, ParameterDescriptor(
            description="Seed of room, drive and noise.", read_only=True,
            integer_range=[IntegerRange(from_value=0, to_value=2**31 - 1, step=0)])).value
        self._nodes = self.declare_parameter("nodes", 3, ParameterDescriptor(
            description="Number of sensor nodes.", read_only=True,
            integer_range=[IntegerRange(from_value=1, to_value=3, step=0)])).value
        self._target = self._declare("target", "", "red_car, green_car or none; empty: drawn by the seed.") or None
        self._viewpoints = self._declare("viewpoints", "default", "default, train or held_out.")
        self._drive = self._declare("drive", "laps", "laps or random.")
        self._quality = self._declare("quality", "small", "Image resolution: small, medium, or real (that of GDTM).")
        self._seconds = self._declare("seconds", 600.0, "Simulated duration in seconds; the process ends then.", 1.0,
                                      3600.0)
        self._events = self._declare(
            "events", True, "Sensor failures in the first seconds: darkness, saturation, silent topics.")
        for topic, kind in world_topics(self._nodes).items():
            if not self.add_topic(topic, kind, latched=topic == "/tf_static"):
                self.get_logger().warning(f"{topic} is not published: the message package of {kind} is not installed")
        self.start()

    def items(self) -> Iterator[Item]:
        """Yield simulated messages. The world is created here, because its renderer belongs to this thread."""
        store = typestore()
        with World(self._seed, target=self._target, viewpoints=self._viewpoints, drive=self._drive,
                   nodes=self._nodes, quality=self._quality) as world:
            events = demo_events(self._seconds, [n.name for n in world.scene.nodes]) if self._events else ()
            self.get_logger().info(f"room {self._seed}, target {world.scene.target}, {len(world.scene.nodes)} nodes")
            for stamp_ns, messages in play(world_streams(world, events), self._seconds, events):
                for topic, kind, message in messages:
                    yield topic, stamp_ns, bytes(store.serialize_cdr(message, kind))


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run admn_ros simulator`."""
    return run_node(SimulatorNode, args)


if __name__ == "__main__":
    sys.exit(main())
