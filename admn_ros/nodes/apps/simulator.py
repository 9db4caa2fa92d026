# SPDX-License-Identifier: Apache-2.0
"""Simulate the GDTM room live: every sensor topic, calibration, ground truth and /clock.

On a machine that is too slow for real time, simulated time slows down and nothing is lost.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from admn_ros.nodes.apps.player import PLAYER_PARAMETERS, Item, Player
from admn_ros.nodes.parameters import Spec
from admn_ros.nodes.run_node import Program, run_node
from admn_ros.recordings.bag_types import typestore
from admn_ros.simulation.difficulty import MOST_PEOPLE, MOST_SENSOR_NOISE, PLAIN, Difficulty
from admn_ros.simulation.events import demo_events
from admn_ros.simulation.streams import play, world_streams, world_topics
from admn_ros.simulation.world import World

PARAMETERS = (
    Spec("seed", 7, "Seed of room, drive and noise.", fixed=True, low=0, high=2**31 - 1),
    Spec("nodes", 3, "Number of sensor nodes.", fixed=True, low=1, high=3),
    Spec("target", "", "red_car, green_car or none; empty: drawn by the seed.", fixed=True),
    Spec("viewpoints", "default", "default, train, held_out or moved.", fixed=True),
    Spec("drive", "laps", "laps or random.", fixed=True),
    Spec("quality", "small", "Image resolution: small, medium, or real (that of GDTM).", fixed=True),
    Spec("second_car", PLAIN.second_car, "Share of seeds with a blue car that is not the target.", fixed=True,
         low=0.0, high=1.0),
    Spec("people", PLAIN.people, "Largest number of people who walk through the room.", fixed=True, low=0,
         high=MOST_PEOPLE),
    Spec("sensor_noise", PLAIN.sensor_noise, "Noise of all sensors: 0 good, 1 typical indoors.", fixed=True, low=0.0,
         high=MOST_SENSOR_NOISE),
    Spec("seconds", 600.0, "Simulated duration in seconds; the process ends then.", fixed=True, low=1.0, high=3600.0),
    Spec("events", True, "Sensor failures in the first seconds: darkness, saturation, silent topics.", fixed=True),
    *PLAYER_PARAMETERS,
)


class SimulatorNode(Player):
    """Simulates `seconds` of a room, then ends the process."""

    catches_up = False

    def __init__(self, name: str = "simulator", **kwargs: object) -> None:
        super().__init__(name, PARAMETERS, **kwargs)
        for topic, kind in world_topics(self._values["nodes"]).items():
            if not self.add_topic(topic, kind, latched=topic == "/tf_static"):
                self.get_logger().warning(f"{topic} is not published: the message package of {kind} is not installed")
        self.start()

    def items(self) -> Iterator[Item]:
        """Yield simulated messages. The world is created here, because its renderer belongs to this thread."""
        store = typestore()
        value = self._values
        difficulty = Difficulty(value["second_car"], value["people"], value["sensor_noise"])
        with World(value["seed"], target=value["target"] or None, viewpoints=value["viewpoints"], drive=value["drive"],
                   nodes=value["nodes"], quality=value["quality"], difficulty=difficulty) as world:
            names = [n.name for n in world.scene.nodes]
            events = demo_events(value["seconds"], names) if value["events"] else ()
            self.get_logger().info(f"room {value['seed']}, target {world.scene.target}, {len(names)} nodes")
            for stamp_ns, messages in play(world_streams(world, events), value["seconds"], events):
                for topic, kind, message in messages:
                    yield topic, stamp_ns, bytes(store.serialize_cdr(message, kind))


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run admn_ros simulator`."""
    return run_node(SimulatorNode, Program("simulator", __doc__, PARAMETERS), args)


if __name__ == "__main__":
    sys.exit(main())
