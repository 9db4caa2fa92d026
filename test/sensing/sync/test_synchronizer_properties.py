# SPDX-License-Identifier: Apache-2.0
"""The synchronizer on random streams: no exceptions, correct frames, bounded memory, and progress."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from admn_ros.deployment import SyncConfig, SyncModality
from admn_ros.sample import MISSING, Availability, Modality, Reading, SensorFrame, SensorKey
from admn_ros.sensing.sync.synchronizer import Synchronizer

KEYS = [SensorKey(f"node{n}", m) for n in (1, 2) for m in (Modality.RGB, Modality.DEPTH, Modality.RADAR)]
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Message:
    now_s: float
    key: SensorKey
    stamp_ns: int


@st.composite
def configs(draw: st.DrawFn, buffer: int | None = None) -> SyncConfig:
    seconds = st.sampled_from([0.0, 0.01, 0.04, 0.1, 0.3])
    modality = st.builds(SyncModality, tolerance_s=seconds, hold_s=seconds, wait_s=seconds,
                         offset_s=st.sampled_from([0.0, -0.05, 0.02]))
    return SyncConfig(buffer=buffer or draw(st.integers(2, 20)),
                      reference=tuple(draw(st.permutations([Modality.RGB, Modality.DEPTH, Modality.RADAR]))),
                      modalities=draw(st.dictionaries(st.sampled_from(list(Modality)), modality)))


@st.composite
def streams(draw: st.DrawFn, loops: bool = True) -> list[Message]:
    """Six inputs with their own rates, jitter, loss, delays (so that some overtake), repeats and deaths."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    length_s = 1.8
    messages = []
    laps = draw(st.integers(1, 2)) if loops else 1
    alive = [key for key in KEYS if rng.random() > 0.15]
    for lap in range(laps):
        for key in alive:
            dies_s = rng.uniform(0, length_s) if lap == laps - 1 and rng.random() < 0.3 else length_s
            for t in np.arange(rng.uniform(0, 0.1), dies_s, 1 / rng.choice([4.0, 9.0, 15.0, 30.0])):
                stamp = t + rng.normal(0, 0.004)
                for _ in range(rng.choice([0, 1, 2], p=[0.1, 0.85, 0.05])):
                    messages.append(Message(float(lap * (length_s + 0.3) + t + rng.exponential(0.02)), key,
                                            10**15 + round(stamp * 1e9)))
    return sorted(messages, key=lambda m: m.now_s)


class Witness:
    """Plays messages with a poll in between and checks what holds for every stream."""

    def __init__(self, config: SyncConfig) -> None:
        self.sync = Synchronizer(config, KEYS)
        self.config = config
        self.frames: list[tuple[float, SensorFrame]] = []
        self.last_ns: int | None = None
        self.backward = 0

    def add(self, m: Message) -> list[SensorFrame]:
        return self.check(self.sync.add(m.key, m.stamp_ns, np.array([m.stamp_ns]), m.now_s), m.now_s)

    def poll(self, now_s: float) -> list[SensorFrame]:
        return self.check(self.sync.poll(now_s), now_s)

    def check(self, frames: list[SensorFrame], now_s: float) -> list[SensorFrame]:
        stats = self.sync.stats()
        for frame in frames:
            self.backward += self.last_ns is not None and frame.stamp_ns <= self.last_ns
            self.last_ns = frame.stamp_ns
            self.check_frame(frame)
            self.frames.append((now_s, frame))
        assert self.backward <= stats.resets, "frames go back only with a reset"
        assert all(i.buffered <= self.config.buffer for i in stats.inputs.values())
        assert stats.waiting <= 8
        return frames

    def check_frame(self, frame: SensorFrame) -> None:
        assert list(frame.readings) == KEYS
        assert frame.readings[frame.reference].stamp_ns == frame.stamp_ns
        for key, reading in frame.readings.items():
            if reading.stamp_ns is None:
                continue
            rule = self.config.of(key.modality)
            assert reading.data == reading.stamp_ns + round(rule.offset_s * 1e9)  # the data belong to the stamp
            age_s = (frame.stamp_ns - reading.stamp_ns) / 1e9
            if reading.availability is Availability.FRESH:
                assert abs(age_s) <= rule.tolerance_s + 1e-9
            else:
                assert rule.tolerance_s < age_s <= rule.hold_s + 1e-9


@quick
@given(configs(), st.data())
def test_anything_goes_in_and_only_true_frames_come_out(config: SyncConfig, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    spread = data.draw(st.sampled_from([0.05, 0.5, 3.0, 1e6]))
    witness, now = Witness(config), 0.0
    for _ in range(data.draw(st.integers(0, 300))):
        now += rng.exponential(0.02) - 0.005  # the clock of arrival may step back a little too
        key = KEYS[rng.integers(len(KEYS))]
        witness.add(Message(now, key, round((now + rng.normal(0, spread)) * 1e9)))
        if rng.random() < 0.3:
            witness.poll(now + 0.001)
    witness.poll(now + 10)  # decides about jumps; the readings that it releases may open frames
    witness.poll(now + 11)
    stats = witness.sync.stats()
    assert stats.waiting == 0
    assert stats.frames == len(witness.frames)


def nearest(stamps: list[int], at: int, rule: SyncModality) -> Reading:
    """The contract of a contribution, spelled out over all that was ever received."""
    tolerance, hold = round(rule.tolerance_s * 1e9), round(rule.hold_s * 1e9)
    usable = [s for s in stamps if s <= at + tolerance]
    if not usable:
        return MISSING
    best = min(usable, key=lambda s: (abs(at - s), s))
    if abs(at - best) > tolerance:
        best = max(s for s in usable if s <= at)
        if at - best > hold:
            return MISSING
        return Reading(Availability.HELD, np.array([0]), best)
    return Reading(Availability.FRESH, np.array([0]), best)


def check_nearest(frames: list[SensorFrame], seen: dict[SensorKey, list[int]], config: SyncConfig) -> None:
    for frame in frames:
        for key, reading in frame.readings.items():
            if key != frame.reference:
                expected = nearest(seen[key], frame.stamp_ns, config.of(key.modality))
                assert (reading.availability, reading.stamp_ns) == (expected.availability, expected.stamp_ns)


@quick
@given(configs(buffer=200), streams(loops=False))
def test_each_contribution_is_the_nearest_reading_received(config: SyncConfig, messages: list[Message]) -> None:
    witness = Witness(config)
    seen: dict[SensorKey, list[int]] = defaultdict(list)
    for message in messages:
        check_nearest(witness.poll(message.now_s), seen, config)
        seen[message.key].append(message.stamp_ns - round(config.of(message.key.modality).offset_s * 1e9))
        check_nearest(witness.add(message), seen, config)
    check_nearest(witness.poll(messages[-1].now_s + 1) if messages else [], seen, config)


@quick
@given(configs(buffer=200), streams(), st.integers(1, 5))
def test_after_a_reset_each_contribution_is_the_nearest_reading_of_the_new_time(
        config: SyncConfig, messages: list[Message], late: int) -> None:
    """Most inputs jump back together, with some messages still to come from before."""
    first = [m for m in messages if m.now_s < 2.0]
    back_ns = 3600 * 10**9
    second = [Message(m.now_s + 2.1, m.key, m.stamp_ns - back_ns) for m in first]
    witness = Witness(config)
    kept = len(first) - late
    for message in sorted([*first[:max(kept, 0)], *second,
                           *(Message(m.now_s + 0.15, m.key, m.stamp_ns) for m in first[max(kept, 0):])],
                          key=lambda m: m.now_s):
        witness.poll(message.now_s)
        witness.add(message)
    seen: dict[SensorKey, list[int]] = defaultdict(list)
    for m in second:
        seen[m.key].append(m.stamp_ns - round(config.of(m.key.modality).offset_s * 1e9))
    new = [f for _, f in witness.frames if f.stamp_ns < 10**15 - back_ns // 2]
    if first and not witness.sync.stats().resets:
        assert not new
    for frame in new:
        for key, reading in frame.readings.items():
            assert reading.stamp_ns is None or reading.stamp_ns in seen[key]
    assert not any(i.wandering for i in witness.sync.stats().inputs.values())
    if len(first) > 40:
        assert witness.sync.stats().resets and len(new) > 4


@quick
@given(streams(), configs())
def test_equal_calls_give_equal_frames(messages: list[Message], config: SyncConfig) -> None:
    def play() -> list[tuple[int, SensorKey, list[int | None]]]:
        witness = Witness(config)
        for message in messages:
            witness.add(message)
        return [(f.stamp_ns, f.reference, [r.stamp_ns for r in f.readings.values()]) for _, f in witness.frames]

    assert play() == play()


@quick
@given(st.sampled_from([None, *KEYS]), st.floats(0.3, 2.0), st.floats(0.0, 0.02), st.integers(0, 2**32))
def test_one_dead_input_stops_nothing(dead: SensorKey | None, dies_s: float, jitter_s: float, seed: int) -> None:
    """Also the reference: frames go on within silent_s, and none waits longer than the longest wait_s."""
    rng = np.random.default_rng(seed)
    config = SyncConfig(modalities={Modality.RADAR: SyncModality(wait_s=0.0)})
    rates = {Modality.RGB: 15.0, Modality.DEPTH: 15.0, Modality.RADAR: 4.0}
    messages = []
    for key in KEYS:
        for t in np.arange(rng.uniform(0, 0.06), 3.0, 1 / rates[key.modality]):
            if not (key == dead and t > dies_s) and rng.random() > 0.02:
                messages.append(Message(t + 0.01 + rng.uniform(0, jitter_s), key, 10**15 + round(t * 1e9)))
    messages.sort(key=lambda m: m.now_s)
    arrived = {}
    witness, step = Witness(config), 0
    for message in messages:
        while step * 0.005 < message.now_s:
            witness.poll(step * 0.005)
            step += 1
        arrived[message.key, message.stamp_ns] = message.now_s
        witness.add(message)
    times = [now for now, _ in witness.frames]
    assert len(times) > 25
    # The silence, a few readings of the next input that may be lost, its period and its wait.
    assert max(np.diff(times)) < config.silent_s + 0.3
    assert witness.frames[-1][0] > 2.8
    for now, frame in witness.frames:
        if frame.reference == KEYS[0]:  # which leads as soon as its reading arrives
            assert now - arrived[KEYS[0], frame.stamp_ns] < 0.05 + 0.005 + 1e-6


@quick
@given(streams(loops=False), configs())
def test_silence_gives_no_frames(messages: list[Message], config: SyncConfig) -> None:
    witness = Witness(config)
    for message in messages:
        witness.add(message)
    end_s = messages[-1].now_s if messages else 0.0
    witness.poll(end_s + config.silent_s + 0.5)
    assert [f for i in range(200) for f in witness.poll(end_s + 1.0 + i * 0.1)] == []
    assert witness.sync.stats().reference is None


@quick
@given(streams(), configs())
def test_polls_before_the_due_time_find_nothing_and_change_nothing(messages: list[Message], config: SyncConfig) -> None:
    def play(step_s: float | None) -> list[tuple[float, int, SensorKey, list[int | None]]]:
        """Poll at each due time, and in between where a step is given; frames with their time of emission."""
        sync, now_s = Synchronizer(config, KEYS), 0.0
        out: list[tuple[float, int, SensorKey, list[int | None]]] = []

        def note(at_s: float, frames: list[SensorFrame]) -> None:
            out.extend((at_s, f.stamp_ns, f.reference, [r.stamp_ns for r in f.readings.values()]) for f in frames)

        def advance(until_s: float) -> None:
            nonlocal now_s
            while now_s < until_s:
                due_s = sync.due_s()
                next_s = min(until_s, math.inf if due_s is None else max(due_s, now_s))
                if step_s is not None and now_s + step_s < next_s:
                    now_s += step_s
                    assert sync.poll(now_s) == []
                    continue
                if next_s == until_s:
                    break
                now_s = next_s
                note(now_s, sync.poll(now_s))
                assert sync.due_s() is None or sync.due_s() > now_s
            now_s = until_s

        for message in messages:
            advance(message.now_s)
            note(now_s, sync.add(message.key, message.stamp_ns, np.array([0]), now_s))
        advance(now_s + 5.0)
        assert sync.due_s() is None and not sync.stats().waiting
        return out

    assert play(None) == play(0.003)
