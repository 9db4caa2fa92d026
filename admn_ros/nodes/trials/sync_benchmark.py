# SPDX-License-Identifier: Apache-2.0
"""Our synchronizer and ROS's approximate time one, side by side on the same made-up streams.

Time is made up too, so that all but the processor time is the same on every machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from admn_ros.deployment import SyncConfig, SyncModality
from admn_ros.errors import ConfigError
from admn_ros.nodes.perception.approximate_time import make_synchronizer
from admn_ros.nodes.processes import machine
from admn_ros.sample import Availability, Modality, SensorFrame, SensorKey
from admn_ros.sensing.sync.synchronizer import FrameSynchronizer

RGB, DEPTH, RADAR, AUDIO = Modality.RGB, Modality.DEPTH, Modality.RADAR, Modality.AUDIO
START_NS = 10**18
POLL_S = 0.01
_EMPTY = np.zeros(1, np.float32)


@dataclass(frozen=True)
class Scene:
    """Streams and how they are joined.

    rates_hz: of each input. dead: inputs that never speak. slop_s: of the approximate time synchronizer.
    """

    name: str
    rates_hz: dict[SensorKey, float]
    slop_s: float
    dead: tuple[SensorKey, ...] = ()
    policies: tuple[str, ...] = ("hold", "approximate_time")


@dataclass(frozen=True)
class Outcome:
    """What a synchronizer made of a scene.

    frames: that came out; references: readings of the first input, each of which could be one.
    complete_share: of the references that became a frame in which no input was missing.
    added_wait: from the arrival of a frame's reference reading to the frame.
    cpu_us_per_message: processor time of the calls, polling included; worst_call_ms: of one call.
    """

    scene: str
    policy: str
    slop_s: float | None
    messages: int
    references: int
    frames: int
    complete_share: float
    added_wait_p50_ms: float | None
    added_wait_p95_ms: float | None
    cpu_us_per_message: float
    worst_call_ms: float


def scenes() -> list[Scene]:
    """2, 4 and 12 topics at 30 Hz; GDTM's rates; the same with a slop wide enough for its radar; one input dead."""
    def evenly(count: int) -> dict[SensorKey, float]:
        kinds = (RGB, DEPTH, AUDIO, RADAR)
        return {SensorKey(f"node{1 + k // 4}", kinds[k % 4]): 30.0 for k in range(count)}

    gdtm = {SensorKey(f"node{n}", m): rate for n in (1, 2, 3)
            for m, rate in ((RGB, 15.0), (DEPTH, 15.0), (RADAR, 4.0), (AUDIO, 15.0))}
    return [*(Scene(f"{count} topics, 30 Hz", evenly(count), 0.034) for count in (2, 4, 12)),
            Scene("GDTM, 12 topics", gdtm, 0.1), Scene("GDTM, 12 topics", gdtm, 0.25, policies=("approximate_time",)),
            Scene("GDTM, one depth camera dead", gdtm, 0.25, (SensorKey("node2", DEPTH),))]


def arrivals(scene: Scene, seconds: float, seed: int) -> list[tuple[float, SensorKey, int]]:
    """(arrival s, input, stamp ns) in order of arrival: own phases, 2 ms of jitter, 3 to 8 ms under way."""
    rng = np.random.default_rng(seed)
    found = []
    for key, rate_hz in scene.rates_hz.items():
        stamps_s = (rng.uniform() + np.arange(int(seconds * rate_hz))) / rate_hz
        stamps_s = np.sort(stamps_s + rng.normal(0, 0.002, len(stamps_s)))
        come_s = stamps_s + rng.uniform(0.003, 0.008, len(stamps_s))
        if key not in scene.dead:
            found += [(float(c), key, START_NS + round(s * 1e9)) for c, s in zip(come_s, stamps_s, strict=True)]
    return sorted(found, key=lambda a: a[0])


def config_of(scene: Scene, policy: str) -> SyncConfig:
    """As in config/gdtm.yaml; of what runs at 30 Hz, fresh is what lies within a period."""
    slow = RADAR in {k.modality for k, rate in scene.rates_hz.items() if rate < 10}
    near = SyncModality(tolerance_s=0.034, hold_s=0.2, wait_s=0.04)
    held = SyncModality(tolerance_s=0.034, hold_s=0.4, wait_s=0.0) if slow else near
    sound = SyncModality(tolerance_s=0.07, hold_s=0.2, wait_s=0.0) if slow else near
    return SyncConfig(policy=policy, slop_s=scene.slop_s,
                      modalities={RGB: near, DEPTH: near, AUDIO: sound, RADAR: held})


def run(scene: Scene, policy: str, seconds: float, seed: int) -> Outcome:
    """One synchronizer on one scene.

    Raises:
        ConfigError: message_filters is asked for and not installed.
    """
    sync = make_synchronizer(config_of(scene, policy), list(scene.rates_hz))
    first = next(iter(scene.rates_hz))
    events = arrivals(scene, seconds, seed)
    came_s = {stamp: arrived for arrived, key, stamp in events if key == first}
    frames: list[tuple[float, SensorFrame]] = []
    cpu_ns = worst_ns = 0
    gc.disable()  # it would be charged to whoever makes the object that starts it
    for now_s, made, used_ns in _drive(sync, events):
        frames += [(now_s, frame) for frame in made]
        cpu_ns, worst_ns = cpu_ns + used_ns, max(worst_ns, used_ns)
    gc.enable()
    waits_ms = [1e3 * (now_s - came_s[f.stamp_ns]) for now_s, f in frames if f.stamp_ns in came_s]
    whole = sum(all(r.availability is not Availability.MISSING for k, r in f.readings.items() if k not in scene.dead)
                for _, f in frames)
    p50, p95 = (float(np.percentile(waits_ms, q)) if waits_ms else None for q in (50, 95))
    slop_s = scene.slop_s if policy != "hold" else None
    return Outcome(scene.name, policy, slop_s, len(events), len(came_s), len(frames),
                   round(whole / len(came_s), 3), *(None if p is None else round(p, 1) for p in (p50, p95)),
                   round(cpu_ns / 1e3 / len(events), 1), round(worst_ns / 1e6, 2))


def _drive(sync: FrameSynchronizer,
           events: Sequence[tuple[float, SensorKey, int]]) -> Iterator[tuple[float, list[SensorFrame], int]]:
    """Each call with its time, what it made and the processor nanoseconds that it took."""
    now_s = events[0][0]
    for arrived_s, key, stamp_ns in events:
        while now_s + POLL_S < arrived_s:
            now_s += POLL_S
            begun = time.thread_time_ns()
            made = sync.poll(now_s)
            yield now_s, made, time.thread_time_ns() - begun
        now_s = arrived_s
        begun = time.thread_time_ns()
        made = sync.add(key, stamp_ns, _EMPTY, now_s)
        yield now_s, made, time.thread_time_ns() - begun


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as a table in Markdown."""
    lines = ["| | policy | frames of | complete | added wait p50, p95 | CPU per message | worst call |",
             "|---|---|---|---|---|---|---|"]
    for o in outcomes:
        policy = o.policy if o.slop_s is None else f"{o.policy}, {o.slop_s:g} s"
        wait = "-" if o.added_wait_p50_ms is None else f"{o.added_wait_p50_ms:g}, {o.added_wait_p95_ms:g} ms"
        lines.append(f"| {o.scene} | {policy} | {o.frames} of {o.references} | {o.complete_share:.0%} | {wait} | "
                     f"{o.cpu_us_per_message:g} us | {o.worst_call_ms:g} ms |")
    return "\n".join(lines)


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run admn_ros sync_benchmark`."""
    parser = argparse.ArgumentParser(prog="sync_benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="made-up seconds of each scene (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="of phases and delays (default: 0)")
    parser.add_argument("--out", type=Path, help="folder for sync.json")
    options = parser.parse_args(args)
    outcomes, missing = [], ""
    for scene in scenes():
        for policy in scene.policies:
            try:
                outcomes.append(run(scene, policy, options.seconds, options.seed))
            except ConfigError as error:
                missing = str(error)
    print(table(outcomes))
    if missing:
        print(f"approximate_time was not run: {missing}")
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "sync.json").write_text(json.dumps({
            "command": f"sync_benchmark --seconds {options.seconds:g} --seed {options.seed}", **machine(),
            "not_run": missing or None, "outcomes": [dataclasses.asdict(o) for o in outcomes]}, indent=1) + "\n",
            encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
