# SPDX-License-Identifier: Apache-2.0
"""Bags of a simulated world: sensors, calibration, ground truth, temperature, and a budget that changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from admn_ros.errors import InputError
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_writer import BagWriter
from admn_ros.simulation.difficulty import PLAIN
from admn_ros.simulation.events import Event, demo_events
from admn_ros.simulation.streams import START_NS, BudgetStream, play, world_streams
from admn_ros.simulation.world import World

BUDGET_LAYERS = (8, 4, 3, 2, 1, 3, 2, 8)
BUDGET_EVERY_S = 1.5
NOTE = "admn_recording"

Progress = Callable[[int, int], None]


@dataclass
class Recording:
    """A bag that was written.

    Attributes:
        path: folder of the bag.
        seconds: length.
        seed: seed of the world.
        target: class of the car, or none.
        events: sensor failures.
        budgets: (seconds after the start, layers).
        messages: messages by topic.
        size_bytes: size of the folder.
    """

    path: Path
    seconds: float
    seed: int
    target: str
    events: tuple[Event, ...]
    budgets: tuple[tuple[float, float], ...]
    messages: dict[str, int] = field(default_factory=dict)
    size_bytes: int = 0

    def describe(self) -> str:
        """Describe the recording in a few lines of text."""
        lines = [f"{self.path}: {self.seconds:g} s, target {self.target}, seed {self.seed}, "
                 f"{sum(self.messages.values())} messages, {self.size_bytes / 1e6:.1f} MB"]
        lines += [f"  {e.start_s:5.1f} to {e.end_s:4.1f} s  {e.description}" for e in self.events]
        lines.append("  budget in layers: " + ", ".join(f"{v:g} at {t:g} s" for t, v in self.budgets))
        return "\n".join(lines)


def record(out: str | Path, world: World, seconds: float, *, storage: str = "mcap",
           events: bool | Sequence[Event] = True, compact: bool = False, start_ns: int = START_NS,
           progress: Progress | None = None) -> Recording:
    """Write a bag of a world.

    Topics of each node: `/<node>/rgb/image_raw` (rgb8) and `/<node>/depth/image_raw` (32FC1, metres), both at 15 Hz
    with `camera_info` beside them, `/<node>/radar/range_azimuth` and `/<node>/radar/range_doppler` (32FC1, 4 Hz),
    `/<node>/radar/points` (PointCloud2) and `/<node>/audio` (AudioFrame, 4 microphones, 66 ms). Besides
    `/ground_truth/pose` (the car's middle in `map`, 60 Hz; none without a car), `/temperature`, `/tf_static` (latched)
    and `/admn/budget` (ComputeBudget, layers). mcap is compressed with zstd; sqlite3 is not.

    The same arguments give the same messages, bit for bit, and under the same folder name the same files.

    Args:
        out: folder of the bag; must not exist.
        world: room, drive and sensors.
        seconds: length, 0.5 to 3600.
        storage: "mcap" or "sqlite3".
        events: sensor failures; True for those of `demo_events`, False for none.
        compact: write a fraction of the bytes: CompressedImage for RGB and depth, rounded radar and sound, neither
            range-Doppler nor points.
        start_ns: stamp of the start.
        progress: called with (milliseconds recorded, milliseconds in all).

    Raises:
        InputError: seconds or storage is out of range, or `out` exists or cannot be written.
    """
    if not 0.5 <= seconds <= 3600:
        raise InputError("seconds", seconds, "0.5 to 3600")
    if isinstance(events, bool):
        events = demo_events(seconds, [n.name for n in world.scene.nodes]) if events else ()
    budgets = tuple((BUDGET_EVERY_S * i, float(BUDGET_LAYERS[i % len(BUDGET_LAYERS)]))
                    for i in range(int(np.ceil(seconds / BUDGET_EVERY_S))))
    result = Recording(Path(out), seconds, world.seed, world.scene.target, tuple(events), budgets)
    note = {"seed": world.seed, "target": world.scene.target, "seconds": seconds,
            "events": [asdict(e) for e in result.events]}
    if world.difficulty != PLAIN:
        note |= {"difficulty": asdict(world.difficulty), "second_car": world.scene.second_car,
                 "people": len(world.scene.people)}
    streams = [*world_streams(world, result.events, compact), BudgetStream(budgets)]
    with BagWriter(out, storage, compress=storage == "mcap") as bag:
        bag.add_topic("/tf_static", make.TF, latched=True)
        bag.note({NOTE: json.dumps(note)})
        for record_ns, messages in play(streams, seconds, result.events, start_ns):
            for topic, kind, message in messages:
                bag.write(topic, kind, message, record_ns)
                result.messages[topic] = result.messages.get(topic, 0) + 1
            if progress is not None:
                progress(min(round((record_ns - start_ns) / 1e6), round(1000 * seconds)), round(1000 * seconds))
    result.size_bytes = sum(p.stat().st_size for p in result.path.iterdir())
    return result
