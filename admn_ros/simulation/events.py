# SPDX-License-Identifier: Apache-2.0
"""Sensor failures in a simulated recording, to which the network has to adapt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SILENCING = ("topic_dead", "radar_missing")


@dataclass(frozen=True)
class Event:
    """A sensor failure.

    Attributes:
        kind: lights_out, depth_saturated, topic_dead or radar_missing.
        start_s: start, in seconds after the start of the recording.
        end_s: end, likewise.
        topics: topics that fail, each with the topics below it.
        description: the failure in a few words.
    """

    kind: str
    start_s: float
    end_s: float
    topics: tuple[str, ...]
    description: str

    def applies(self, topic: str, t_s: float) -> bool:
        """Return whether a topic fails at a time of measurement in seconds."""
        return self.start_s <= t_s < self.end_s and any(f"{topic}/".startswith(f"{t}/") for t in self.topics)

    def silences(self, topic: str, t_s: float) -> bool:
        """Return whether a topic has no messages at a time of measurement in seconds."""
        return self.kind in _SILENCING and self.applies(topic, t_s)


def demo_events(seconds: float, nodes: Sequence[str]) -> tuple[Event, ...]:
    """Return the failures of the demo, at fixed times.

    Args:
        seconds: length of the recording; later failures are left out.
        nodes: names of the sensor nodes; failures of others are left out.
    """
    def every(name: str) -> tuple[str, ...]:
        return tuple(f"/{node}/{name}" for node in nodes)

    planned = (
        Event("lights_out", 2.0, 4.0, every("rgb/image_raw"), "RGB of all nodes dark and noisy: lights out"),
        Event("depth_saturated", 5.0, 6.5, every("depth/image_raw"), "depth of all nodes saturated by infrared light"),
        Event("topic_dead", 7.0, 9.0, tuple(t for t in every("rgb/image_raw") if t.startswith("/node2/")),
              "/node2/rgb/image_raw dead"),
        Event("radar_missing", 9.5, 11.0, every("radar"), "radar of all nodes missing"),
    )
    return tuple(event for event in planned if event.start_s < seconds and event.topics)
