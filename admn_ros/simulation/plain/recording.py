# SPDX-License-Identifier: Apache-2.0
"""Records the demo scene into a bag: three nodes with four sensors each, ground truth, budgets, mishaps.

Sensors are not synchronous: each has its own phase, its clock's jitter, and a latency between the stamp
in the header (when it measured) and the record stamp (when the message came). The same arguments give
the same messages, bit for bit, and with the same folder name the same files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from admn_ros.errors import InputError
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bags import BagWriter
from admn_ros.simulation.events import SILENCING, Event, demo_events
from admn_ros.simulation.plain.streams import Budgets, Stream, Transforms, sensor_streams
from admn_ros.simulation.scene.geometry import CAR_COLOURS, Motion, sensor_nodes

__all__ = ["Event", "Recording", "demo_events", "record"]

BUDGET_LAYERS = (48, 24, 12, 6, 2, 24, 12, 48)
BUDGET_EVERY_S = 1.5
NOTE = "admn_recording"
START_NS = 1_700_000_000_000_000_000

Progress = Callable[[int, int], None]


@dataclass
class Recording:
    """What was recorded. budgets: (seconds after the start, layers)."""

    path: Path
    seconds: float
    seed: int
    car: str
    events: tuple[Event, ...]
    budgets: tuple[tuple[float, float], ...]
    messages: dict[str, int] = field(default_factory=dict)
    size_bytes: int = 0

    def describe(self) -> str:
        """The recording in a few lines for people."""
        lines = [f"{self.path}: {self.seconds:g} s, {self.car.removesuffix('_car')} car, seed {self.seed}, "
                 f"{sum(self.messages.values())} messages, {self.size_bytes / 1e6:.0f} MB"]
        lines += [f"  {e.start_s:5.1f} to {e.end_s:4.1f} s  {e.description}" for e in self.events]
        lines.append("  budget in layers: " + ", ".join(f"{v:g} at {t:g} s" for t, v in self.budgets))
        return "\n".join(lines)


def record(out: str | Path, *, seconds: float = 12.0, seed: int = 7, storage: str = "mcap", nodes: int = 3,
           car: str = "red", events: bool | Sequence[Event] = True, start_ns: int = START_NS,
           progress: Progress | None = None) -> Recording:
    """Write the demo recording.

    Topics for each node: `/node<k>/rgb/image_raw` (rgb8 320x240), `/node<k>/depth/image_raw` (32FC1 m,
    160x120), both at 15 Hz with `camera_info` beside them, `/node<k>/radar/range_azimuth` (32FC1, 4 Hz,
    `radar.Radar`) and `/node<k>/audio` (AudioFrame, 4 microphones, 66 ms). Besides `/ground_truth/pose`
    (the car's middle in `map`, 60 Hz), `/tf_static` (latched) and `/admn/budget` (ComputeBudget, layers).
    mcap is compressed with zstd; sqlite3 is not and is larger.

    Args:
        out: bag folder to create; must not exist.
        seconds: length, 0.5 to 600.
        seed: of motion, timing and noise.
        storage: "mcap" or "sqlite3".
        nodes: sensor nodes, 1 to 3.
        car: "red" or "green".
        events: True for the mishaps of `demo_events`, False for none, or mishaps of your own.
        start_ns: stamp of the start.
        progress: called with (messages written, messages in all) now and then.

    Raises:
        InputError: an argument is out of range, or `out` exists.
    """
    if not 0.5 <= seconds <= 600:
        raise InputError("seconds", seconds, "0.5 to 600")
    if car not in CAR_COLOURS:
        raise InputError("car", repr(car), " or ".join(CAR_COLOURS))
    if not 0 <= seed < 2**32:
        raise InputError("seed", seed, "[0, 2^32)")
    stations = sensor_nodes(nodes)
    if isinstance(events, bool):
        mishaps = demo_events(seconds, [n.name for n in stations]) if events else ()
    else:
        mishaps = tuple(events)
    budgets = tuple((BUDGET_EVERY_S * i, float(BUDGET_LAYERS[i % len(BUDGET_LAYERS)]))
                    for i in range(int(np.ceil(seconds / BUDGET_EVERY_S))))
    result = Recording(Path(out), seconds, seed, car, mishaps, budgets)
    with BagWriter(out, storage, compress=storage == "mcap") as bag:
        bag.add_topic("/tf_static", make.TF, latched=True)
        bag.note({NOTE: json.dumps({"seed": seed, "car": car, "seconds": seconds,
                                    "events": [asdict(e) for e in mishaps]})})
        streams = sensor_streams(stations, Motion.seeded(seed), car, seed, seconds, mishaps)
        streams += [Transforms(stations), Budgets(budgets)]
        write_streams(bag, streams, result, start_ns, progress)
    result.size_bytes = sum(p.stat().st_size for p in result.path.iterdir())
    return result


def write_streams(bag: BagWriter, streams: list[Stream], result: Recording, start_ns: int,
                  progress: Progress | None) -> None:
    """Measure and write every tick of the streams in the order of arrival; messages are counted in `result`."""
    ticks = (tick for stream in streams for tick in stream.ticks(result.seconds))
    schedule = sorted(ticks, key=lambda tick: tick.order)
    for done, tick in enumerate(schedule, start=1):
        for topic, kind, message in tick.stream.measure(tick, start_ns):
            if any(e.kind in SILENCING and e.holds(topic, tick.t_s) for e in result.events):
                continue
            bag.write(topic, kind, message, start_ns + tick.record_ns)
            result.messages[topic] = result.messages.get(topic, 0) + 1
        if progress is not None and (done % 50 == 0 or done == len(schedule)):
            progress(done, len(schedule))
