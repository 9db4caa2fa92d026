# SPDX-License-Identifier: Apache-2.0
"""Compare the synchronizer of this package with message_filters' approximate time on synthetic streams.

Time is simulated, so that everything but processor time is the same on every machine.
"""

from __future__ import annotations

import dataclasses
import gc
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from admn_ros.deployment import SyncConfig, SyncModality
from admn_ros.errors import AdmnError, ConfigError
from admn_ros.files import write_json
from admn_ros.nodes.perception.approximate_time import make_synchronizer
from admn_ros.nodes.processes import machine
from admn_ros.nodes.trials.options import check_durations, make_out_folder, trial_parser
from admn_ros.sample import Availability, Modality, SensorFrame, SensorKey
from admn_ros.sensing.sync.synchronizer import FrameSynchronizer

RGB, DEPTH, RADAR, AUDIO = Modality.RGB, Modality.DEPTH, Modality.RADAR, Modality.AUDIO
START_NS = 10**18
POLL_S = 0.01
_EMPTY = np.zeros(1, np.float32)


@dataclass(frozen=True)
class SyncCase:
    """Streams, and how they are synchronized.

    Attributes:
        name: row of the table.
        rates_hz: rate of each input.
        slop_s: largest time difference for approximate time.
        silent: inputs without messages.
        policies: policies to run.
    """

    name: str
    rates_hz: dict[SensorKey, float]
    slop_s: float
    silent: tuple[SensorKey, ...] = ()
    policies: tuple[str, ...] = ("hold", "approximate_time")


@dataclass(frozen=True)
class Outcome:
    """Result of one policy on one case.

    Attributes:
        scene: name of the case.
        policy: policy of the synchronizer.
        slop_s: largest time difference for approximate time.
        messages: number of messages.
        references: readings of the first input, each of which can make a frame.
        frames: frames that were made.
        complete_share: share of the references that became a frame with every input.
        added_wait_p50_ms: median of the time from the arrival of a frame's reference reading to the frame.
        added_wait_p95_ms: 95th percentile of it.
        cpu_us_per_message: processor time of the calls, polling included.
        worst_call_ms: processor time of the slowest call.
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


def cases() -> list[SyncCase]:
    """Return the cases: 2, 4 and 12 topics at 30 Hz; GDTM's rates, also with a slop for its radar; a silent input."""
    def evenly(count: int) -> dict[SensorKey, float]:
        kinds = (RGB, DEPTH, AUDIO, RADAR)
        return {SensorKey(f"node{1 + k // 4}", kinds[k % 4]): 30.0 for k in range(count)}

    gdtm = {SensorKey(f"node{n}", m): rate for n in (1, 2, 3)
            for m, rate in ((RGB, 15.0), (DEPTH, 15.0), (RADAR, 4.0), (AUDIO, 15.0))}
    return [*(SyncCase(f"{count} topics, 30 Hz", evenly(count), 0.034) for count in (2, 4, 12)),
            SyncCase("GDTM, 12 topics", gdtm, 0.1),
            SyncCase("GDTM, 12 topics", gdtm, 0.25, policies=("approximate_time",)),
            SyncCase("GDTM, one depth camera dead", gdtm, 0.25, (SensorKey("node2", DEPTH),))]


def arrivals(case: SyncCase, seconds: float, seed: int) -> list[tuple[float, SensorKey, int]]:
    """Return (arrival s, input, stamp ns) in order of arrival: own phases, 2 ms of jitter, 3 to 8 ms of transport."""
    rng = np.random.default_rng(seed)
    found = []
    for key, rate_hz in case.rates_hz.items():
        stamps_s = (rng.uniform() + np.arange(int(seconds * rate_hz))) / rate_hz
        stamps_s = np.sort(stamps_s + rng.normal(0, 0.002, len(stamps_s)))
        arrivals_s = stamps_s + rng.uniform(0.003, 0.008, len(stamps_s))
        if key not in case.silent:
            found += [(float(a), key, START_NS + round(s * 1e9)) for a, s in zip(arrivals_s, stamps_s, strict=True)]
    return sorted(found, key=lambda a: a[0])


def config_of(case: SyncCase, policy: str) -> SyncConfig:
    """Return the settings of config/gdtm.yaml; at 30 Hz a reading is fresh within a period."""
    slow = RADAR in {k.modality for k, rate in case.rates_hz.items() if rate < 10}
    near = SyncModality(tolerance_s=0.034, hold_s=0.2, wait_s=0.04)
    held = SyncModality(tolerance_s=0.034, hold_s=0.4, wait_s=0.0) if slow else near
    sound = SyncModality(tolerance_s=0.07, hold_s=0.2, wait_s=0.0) if slow else near
    return SyncConfig(policy=policy, slop_s=case.slop_s,
                      modalities={RGB: near, DEPTH: near, AUDIO: sound, RADAR: held})


def run(case: SyncCase, policy: str, seconds: float, seed: int) -> Outcome:
    """Run one policy on one case.

    Raises:
        ConfigError: the policy needs message_filters, which is not installed.
    """
    sync = make_synchronizer(config_of(case, policy), list(case.rates_hz))
    first = next(iter(case.rates_hz))
    events = arrivals(case, seconds, seed)
    arrival_s = {stamp: arrived for arrived, key, stamp in events if key == first}
    frames: list[tuple[float, SensorFrame]] = []
    cpu_ns = worst_ns = 0
    gc.disable()  # a collection would be charged to the call that starts it
    for now_s, made, used_ns in _drive(sync, events):
        frames += [(now_s, frame) for frame in made]
        cpu_ns, worst_ns = cpu_ns + used_ns, max(worst_ns, used_ns)
    gc.enable()
    waits_ms = [1e3 * (now_s - arrival_s[f.stamp_ns]) for now_s, f in frames if f.stamp_ns in arrival_s]
    whole = sum(all(r.availability is not Availability.MISSING for k, r in f.readings.items() if k not in case.silent)
                for _, f in frames)
    p50, p95 = (float(np.percentile(waits_ms, q)) if waits_ms else None for q in (50, 95))
    slop_s = case.slop_s if policy != "hold" else None
    return Outcome(case.name, policy, slop_s, len(events), len(arrival_s), len(frames),
                   round(whole / len(arrival_s), 3), *(None if p is None else round(p, 1) for p in (p50, p95)),
                   round(cpu_ns / 1e3 / len(events), 1), round(worst_ns / 1e6, 2))


def _drive(sync: FrameSynchronizer,
           events: Sequence[tuple[float, SensorKey, int]]) -> Iterator[tuple[float, list[SensorFrame], int]]:
    """Yield the time of each call, the frames that it made and its processor time in nanoseconds."""
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
    """Format the outcomes as a Markdown table."""
    lines = ["| streams | policy | frames of | complete | added wait p50, p95 | CPU per message | worst call |",
             "|---|---|---|---|---|---|---|"]
    for o in outcomes:
        policy = o.policy if o.slop_s is None else f"{o.policy}, {o.slop_s:g} s"
        wait = "-" if o.added_wait_p50_ms is None else f"{o.added_wait_p50_ms:g}, {o.added_wait_p95_ms:g} ms"
        lines.append(f"| {o.scene} | {policy} | {o.frames} of {o.references} | {o.complete_share:.0%} | {wait} | "
                     f"{o.cpu_us_per_message:g} us | {o.worst_call_ms:g} ms |")
    return "\n".join(lines)


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run admn_ros sync_benchmark`."""
    parser = trial_parser("sync_benchmark", __doc__, "sync.json", needs_node=False)
    parser.add_argument("--seconds", type=float, default=60.0, help="simulated duration of each case (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="seed of phases and delays (default: 0)")
    options = parser.parse_args(args)
    check_durations(parser, options, "seconds")
    outcomes, missing = [], ""
    for case in cases():
        for policy in case.policies:
            try:
                outcomes.append(run(case, policy, options.seconds, options.seed))
            except ConfigError as error:
                missing = str(error)
    print(table(outcomes))
    if missing:
        print(f"approximate_time was not run: {missing}")
    if options.out is not None:
        try:
            make_out_folder(options.out)
            write_json(options.out / "sync.json", {
                "command": f"sync_benchmark --seconds {options.seconds:g} --seed {options.seed}", **machine(),
                "not_run": missing or None, "outcomes": [dataclasses.asdict(o) for o in outcomes]})
        except AdmnError as error:
            print(f"sync_benchmark: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
