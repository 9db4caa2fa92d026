# SPDX-License-Identifier: Apache-2.0
"""A clock that jumps affects its own input only; a looping bag resets all inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from admn_ros.deployment import SyncConfig, SyncModality
from admn_ros.errors import ConfigError
from admn_ros.sample import Availability, Modality, SensorFrame, SensorKey
from admn_ros.sensing.sync.clock_watch import DECIDE_S, STEADY_AFTER_S
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
    assert not stats.resets and all(0 <= f.stamp_ns - T0 <= 5e9 for _, f in frames)
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
    # Late messages of the lap before can lead the frames once more.
    assert laps - 1 <= stats.resets <= 2 * (laps - 1)
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


@quick
@given(st.sampled_from(KEYS), st.sampled_from([-3600.0, -37.0, -1.5, -1e9]), st.integers(2, len(KEYS)),
       st.floats(0.0, 0.03))
def test_an_input_that_jumps_back_alone_is_ignored_and_makes_no_frame(
        key: SensorKey, by_s: float, inputs: int, late_s: float) -> None:
    keys = list(dict.fromkeys([key, *KEYS]))[:inputs]
    sync = Synchronizer(SyncConfig(), keys)
    jumped = [Message(m.now_s + late_s, m.key, m.stamp_s + by_s) if m.key == key and m.stamp_s > 2.0 else m
              for m in steady(keys, 4.5 + STEADY_AFTER_S)]
    frames = play(sync, jumped)
    stats = sync.stats()
    assert not stats.resets and stats.inputs[key].wandering, "its new stamps differ from those of the others for ever"
    assert not any(s.wandering or s.ignored for k, s in stats.inputs.items() if k != key)
    assert all(0 <= f.stamp_ns - T0 <= 4.6e9 + STEADY_AFTER_S * 1e9 for _, f in frames)
    assert stats.inputs[key].ignored == sum(m.key == key and m.stamp_s < 2.0 + by_s + 100 and m.now_s > 2.0
                                            for m in jumped)
    if any(k.modality is not Modality.RADAR for k in keys if k != key):
        gaps_s = np.diff([now for now, _ in frames])
        assert gaps_s.max() < 0.2, "the next input takes over at once"
    assert all(f.readings[key].availability is Availability.MISSING for now, f in frames if now > 2.6)


def test_a_jump_back_is_decided_within_a_second() -> None:
    rgb1, rgb2 = SensorKey("node1", Modality.RGB), SensorKey("node2", Modality.RGB)
    sync = Synchronizer(SyncConfig(), [rgb1, rgb2])
    play(sync, steady([rgb1, rgb2], 2.0))
    for k in range(20):
        sync.add(rgb1, T0 - 3600 * 10**9 + k, np.array([k]), 2.0 + k / 15)
        sync.add(rgb2, T0 + round((2.0 + k / 15) * 1e9), np.array([k]), 2.001 + k / 15)
        stats = sync.stats().inputs[rgb1]
        assert stats.wandering == (k >= 15 * DECIDE_S) and stats.ignored == (k + 1 if stats.wandering else 0)


def test_the_first_readings_of_a_new_lap_are_not_lost() -> None:
    """They wait until most inputs have jumped; until then the lap before goes on."""
    keys = KEYS[:4]
    sync = Synchronizer(SyncConfig(), keys)
    play(sync, steady(keys, 3.0))
    out = []
    for k, key in enumerate([*keys[:2], *keys[:2], keys[3], keys[2]]):
        out += sync.add(key, T0 + round(0.1 * k * 1e9), np.array([k]), 3.0 + 0.01 * k)
        assert sync.stats().resets == (k >= 4)
    out += sync.poll(3.5)
    assert [(f.stamp_ns - T0) / 1e9 for f in out][-2:] == [0.0, 0.2]
    assert not any(s.ignored for s in sync.stats().inputs.values())


def test_a_jump_is_one_of_time_if_the_other_inputs_have_stopped() -> None:
    rgb1, radar = SensorKey("node1", Modality.RGB), SensorKey("node1", Modality.RADAR)
    sync = Synchronizer(SyncConfig(), [rgb1, radar])
    play(sync, steady([rgb1, radar], 3.0))
    frames = play(sync, steady([rgb1], 2.0, start_s=3.0))
    stats = sync.stats()
    assert (stats.resets, stats.inputs[rgb1].ignored, stats.inputs[rgb1].wandering) == (1, 0, False)
    assert len(frames) >= 28 and frames[-1][1].reference == rgb1


def test_a_single_wrong_stamp_costs_that_reading() -> None:
    for wrong_s in (-3600.0, 3600.0):
        keys = KEYS[:3]
        sync = Synchronizer(SyncConfig(), keys)
        messages = steady(keys, 3.0)
        one = next(i for i, m in enumerate(messages) if m.key == keys[0] and m.stamp_s > 1.5)
        messages[one] = Message(messages[one].now_s, keys[0], messages[one].stamp_s + wrong_s)
        frames = play(sync, messages)
        stats = sync.stats()
        assert not stats.resets and not stats.inputs[keys[0]].wandering
        assert stats.inputs[keys[0]].ignored == (wrong_s < 0)
        assert len(frames) >= 44 and all(0 <= f.stamp_ns - T0 <= 3.1e9 for _, f in frames)


def test_single_wrong_stamps_are_forgotten_after_a_while() -> None:
    rgb1, rgb2 = SensorKey("node1", Modality.RGB), SensorKey("node2", Modality.RGB)
    for every_s, wandering in ((3.0, True), (STEADY_AFTER_S + 1.0, False)):
        sync = Synchronizer(SyncConfig(), [rgb1, rgb2])
        wrong = [Message(5.0 + k * every_s, rgb2, -3600.0) for k in range(4)]
        play(sync, steady([rgb1, rgb2], 6.0 + 3 * every_s) + wrong)
        assert sync.stats().inputs[rgb2].wandering == wandering and not sync.stats().resets


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
