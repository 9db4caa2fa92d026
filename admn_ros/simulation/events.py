# SPDX-License-Identifier: Apache-2.0
"""Mishaps of the demo recording, so that a viewer sees the network adapt."""

from __future__ import annotations

from dataclasses import dataclass

SILENCING = ("topic_dead", "radar_missing")


@dataclass(frozen=True)
class Event:
    """A mishap in the recording, from start_s to end_s after its start.

    kind: lights_out, depth_saturated, topic_dead or radar_missing.
    topics: what it touches.
    """

    kind: str
    start_s: float
    end_s: float
    topics: tuple[str, ...]
    description: str

    def holds(self, topic: str, t_s: float) -> bool:
        """Whether it touches what a topic measured at a time."""
        return topic in self.topics and self.start_s <= t_s < self.end_s


def demo_events(seconds: float, nodes: list[str]) -> tuple[Event, ...]:
    """The mishaps, at fixed times, as far as they begin within `seconds` and touch one of the nodes."""
    def topics(of: list[str], name: str) -> tuple[str, ...]:
        return tuple(f"/{node}/{name}" for node in of if node in nodes)

    every = list(nodes)
    planned = (
        Event("lights_out", 2.0, 4.0, topics(every, "rgb/image_raw"), "lights out: RGB of all nodes dark and noisy"),
        Event("depth_saturated", 5.0, 6.5, topics(every, "depth/image_raw"),
              "depth of all nodes saturated by infrared light"),
        Event("topic_dead", 7.0, 9.0, topics(["node2"], "rgb/image_raw"), "/node2/rgb/image_raw dead"),
        Event("radar_missing", 9.5, 11.0, topics(every, "radar/range_azimuth"), "radar of all nodes missing"),
    )
    return tuple(e for e in planned if e.start_s < seconds and e.topics)
