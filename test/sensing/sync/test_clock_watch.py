# SPDX-License-Identifier: Apache-2.0
"""An unsteady clock affects its own input only; a looping bag resets all inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from admn_ros.deployment import SyncConfig, SyncModality
from admn_ros.errors import ConfigError
from admn_ros.sample import Availability, Modality, SensorFrame, SensorKey
from admn_ros.sensing.sync.clock_watch import MAX_ALONE, STEADY_AFTER_S
from admn_ros.sensing.sync.synchronizer import Synchronizer

KEYS = [SensorKey(f"node{n}", m) for n in (1, 2) for m in (Modality.RGB, Modality.DEPTH, Modality.RADAR)]
RATES = {Modality.RGB: 15.0, Modality.DEPTH: 15.0, Modality.RADAR: 4.0}
T0 = 1_700_000_000_000_000_000
quick = settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])


@dataclass(frozen=True)
class Message:
    now_s: float
    key: SensorKey
    stamp_s: float


def play(sync: Synchronizer, messages: list[Message]) -> list[tuple[float, SensorFrame]]:
    """Frames with the time at which they left."""
    frames, step = [], 0
    for m in sorted(messages, key=lambda m: m.now_s):
        while step * 0.02 < m.now_s:
            frames += [(step * 0.02, f) for f in sync.poll(step * 0.02)]
            step += 1
        frames += [(m.now_s, f) for f in sync.add(m.key, T0 + round(m.stamp_s * 1e9), np.array([m.stamp_s]), m.now_s)]
    return frames


def steady(keys: list[SensorKey], seconds: float, start_s: float = 0.0, clock_s: float = 0.0) -> list[Message]:
    """Inputs at their rates, each a little later than the one before."""
    return [Message(start_s + t + 0.004 * i, key, clock_s + t + 0.003 * i) for i, key in enumerate(keys)
            for t in np.arange(0, seconds, 1 / RATES[key.modality])]


@quick
@given(st.sampled_from(KEYS), st.floats(1.5, 1e6), st.booleans(), st.floats(3.0, 30.0), st.floats(0.0, 0.06))
def test_two_publishers_with_two_clocks_on_one_topic_cost_that_input_alone(
        key: SensorKey, apart_s: float, ahead: bool, rate_hz: float, late_s: float) -> None:
    sync = Synchronizer(SyncConfig(), KEYS)
    second = [Message(t + late_s, key, t + (apart_s if ahead else -apart_s)) for t in np.arange(0.5, 5, 1 / rate_hz)]
    frames = play(sync, steady(KEYS, 5.0) + second)
    stats = sync.stats()
    assert stats.inputs[key].wandering and stats.inputs[key].ignored > 4
    assert not any(s.wandering or s.ignored for k, s in stats.inputs.items() if k != key)
    # Time counts as jumped twice, and frames may be led from the wrong time to the right one once more each time.
    assert stats.resets <= 2 * MAX_ALONE + 1
    settled = [f for now, f in frames if now > 3.0]
    leader = next(k for k in KEYS if k.modality is Modality.RGB and k != key)
    assert len(settled) >= 28 and {f.reference for f in settled} == {leader}
    for frame in settled:
        assert all((r.availability is Availability.MISSING) == (k == key) for k, r in frame.readings.items())


@quick
@given(st.integers(1, 5), st.floats(2.0, 3.5), st.integers(1, len(KEYS)), st.floats(0.0, 0.3), st.integers(0, 2**32))
@example(laps=2, length_s=2.781285964830362, inputs=4, late_s=0.2731581384236737, seed=38214)  # five resets
def test_a_bag_that_loops_resets_all_however_often(
        laps: int, length_s: float, inputs: int, late_s: float, seed: int) -> None:
    """Also when messages of the lap before still come after the first of the new one."""
    rng = np.random.default_rng(seed)
    keys, messages = KEYS[:inputs], []
    delays = {key: rng.uniform(0, late_s) for key in keys}
    for lap in range(laps):
        messages += [Message(m.now_s + delays[m.key], m.key, m.stamp_s)
                     for m in steady(keys, length_s, start_s=lap * length_s)]
    sync = Synchronizer(SyncConfig(), keys)
    frames = play(sync, messages)
    stats = sync.stats()
    assert not any(s.wandering or s.ignored for s in stats.inputs.values())
    # In each new lap every input can jump back once, and the clock of the frames once more.
    assert laps - 1 <= stats.resets <= (laps - 1) * (len(keys) + 1)
    assert len(frames) >= laps * (length_s * 15 * 0.7 - 8)


def test_a_wandering_input_is_taken_again_once_it_is_steady() -> None:
    rgb1, rgb2 = SensorKey("node1", Modality.RGB), SensorKey("node2", Modality.RGB)
    sync = Synchronizer(SyncConfig(), [rgb1, rgb2])
    second = [Message(float(t), rgb2, t - 100.0) for t in np.arange(0, 3, 0.2)]
    frames = play(sync, steady([rgb1, rgb2], 5.0 + STEADY_AFTER_S) + second)
    state = {round(now, 1): f.readings[rgb2].availability for now, f in frames}
    assert state[2.5] is Availability.MISSING and state[2.5 + STEADY_AFTER_S / 2] is Availability.MISSING
    assert state[4.0 + STEADY_AFTER_S] is Availability.FRESH and not sync.stats().inputs[rgb2].wandering


def test_a_bag_that_loops_does_not_keep_a_mended_input_out() -> None:
    rgb1, rgb2 = SensorKey("node1", Modality.RGB), SensorKey("node2", Modality.RGB)
    sync = Synchronizer(SyncConfig(), [rgb1, rgb2])
    second = [Message(float(t), rgb2, t - 100.0) for t in np.arange(0, 2, 0.2)]
    laps = [m for lap in range(6) for m in steady([rgb1, rgb2], 3.0, start_s=3.0 * lap)]
    play(sync, laps + second)
    assert sync.stats().inputs[rgb2].ignored and not sync.stats().inputs[rgb2].wandering


def test_jumps_alone_are_forgotten_after_a_while() -> None:
    rgb1, rgb2 = SensorKey("node1", Modality.RGB), SensorKey("node2", Modality.RGB)
    sync = Synchronizer(SyncConfig(), [rgb1, rgb2])
    steps = [Message(10.0 + 0.3 * k, rgb2, stamp_s) for k, stamp_s in enumerate((500.0, 10.3, 500.0, 10.9))]
    first = [m for m in steady([rgb1, rgb2], 40.0) if not (m.key == rgb2 and 10.0 <= m.now_s <= 12.0)]
    # The input that stepped begins the second lap.
    again = steady([rgb2, rgb1], 3.0, start_s=41.0)
    play(sync, first + steps + again)
    assert sync.stats().resets >= 2 and not any(s.ignored for s in sync.stats().inputs.values())


def test_an_input_with_nobody_beside_it_cannot_jump_alone() -> None:
    sync = Synchronizer(SyncConfig(), KEYS)
    messages = [m for lap in range(8) for m in steady(KEYS[:1], 1.5, start_s=1.5 * lap)]
    play(sync, messages)
    assert sync.stats().resets == 7 and not sync.stats().inputs[KEYS[0]].ignored


def test_limits_and_offsets_change_without_losing_a_reading() -> None:
    rgb, depth = KEYS[:2]
    sync = Synchronizer(SyncConfig(), [rgb, depth])
    late = [Message(t + 0.05, depth, t - 0.2) for t in np.arange(0, 3, 1 / 15)]  # stamps are 0.2 s too small
    before = play(sync, steady([rgb], 1.5) + [m for m in late if m.now_s < 1.5])
    assert {f.readings[depth].availability for _, f in before[8:]} <= {Availability.HELD, Availability.MISSING}
    mended = {Modality.DEPTH: SyncModality(offset_s=-0.2, tolerance_s=0.01)}
    buffered = sync.stats().inputs[depth].buffered
    sync.retune(SyncConfig(modalities=mended, silent_s=0.4))
    assert sync.stats().inputs[depth].buffered == buffered
    after = play(sync, [Message(m.now_s, m.key, m.stamp_s) for m in steady([rgb], 3.0) + late if m.now_s >= 1.5])
    assert [f.readings[depth].availability for _, f in after[1:]].count(Availability.FRESH) >= 20
    assert sync.stats().resets == 0
    for other in (SyncConfig(buffer=17), SyncConfig(reference=(Modality.DEPTH,)), SyncConfig(jump_back_s=2.0)):
        with pytest.raises(ConfigError, match="sync: found another policy"):
            sync.retune(other)
