# SPDX-License-Identifier: Apache-2.0
"""The synchronizer on streams with known results."""

from __future__ import annotations

import numpy as np
import pytest

from admn_ros.deployment import SyncConfig, SyncModality
from admn_ros.errors import ConfigError, InputError
from admn_ros.sample import Availability, Modality, SensorFrame, SensorKey
from admn_ros.sensing.sync.synchronizer import Synchronizer

RGB1, RGB2, RGB3 = (SensorKey(f"node{i}", Modality.RGB) for i in (1, 2, 3))
DEPTH1 = SensorKey("node1", Modality.DEPTH)
RADAR1 = SensorKey("node1", Modality.RADAR)
T0 = 1_700_000_000_000_000_000
HOUR = 3600.0


def ns(seconds: float) -> int:
    return T0 + round(seconds * 1e9)


def payload(seconds: float) -> np.ndarray:
    """Data that say which reading they are."""
    return np.array([seconds])


def give(sync: Synchronizer, key: SensorKey, seconds: float, now_s: float | None = None) -> list[SensorFrame]:
    return sync.add(key, ns(seconds), payload(seconds), seconds if now_s is None else now_s)


def settings(**modalities: SyncModality) -> SyncConfig:
    return SyncConfig(modalities={Modality(m): s for m, s in modalities.items()})


def seconds_of(frames: list[SensorFrame]) -> list[float]:
    return [round((f.stamp_ns - T0) / 1e9, 6) for f in frames]


def states(frame: SensorFrame) -> dict[str, str]:
    return {str(k): str(r.availability) for k, r in frame.readings.items()}


def run(sync: Synchronizer, streams: dict[SensorKey, list[float]], until_s: float, delay_s: float = 0.01,
        ) -> list[tuple[float, SensorFrame]]:
    """Play streams of stamps with a constant delay and a poll each 5 ms; frames with their time of emission."""
    events = sorted((t + delay_s, str(k), k, t) for k, stamps in streams.items() for t in stamps)
    out: list[tuple[float, SensorFrame]] = []
    for step in range(round(until_s / 0.005)):
        now = step * 0.005
        while events and events[0][0] <= now:
            arrival, _, key, stamp = events.pop(0)
            out += [(arrival, f) for f in give(sync, key, stamp, arrival)]
        out += [(now, f) for f in sync.poll(now)]
    return out


def ticks(rate_hz: float, until_s: float, phase_s: float = 0.0) -> list[float]:
    return [phase_s + i / rate_hz for i in range(int((until_s - phase_s) * rate_hz))]


def test_gdtm_rates_give_camera_rate_with_the_radar_held() -> None:
    nodes = ("node1", "node2", "node3")
    rates = {Modality.RGB: 15.0, Modality.DEPTH: 15.0, Modality.RADAR: 4.0, Modality.AUDIO: 1000 / 66}
    streams = {SensorKey(n, m): ticks(rate, 10.0, 0.003 * i)
               for i, n in enumerate(nodes) for m, rate in rates.items()}
    sync = Synchronizer(settings(radar=SyncModality(wait_s=0.0)), list(streams))
    frames = run(sync, streams, 10.5)
    assert len(frames) == 150
    assert {f.reference for _, f in frames[1:]} == {RGB1}  # the first message of all led one frame
    # Cameras are 3 and 6 ms behind node 1; microphones drift through it. The wait is their period at most.
    latencies = [now - (f.stamp_ns - T0) / 1e9 - 0.01 for now, f in frames]
    assert np.median(latencies) < 0.02
    assert max(latencies) <= 0.055 + 1e-6
    later = [f for _, f in frames[5:-5]]
    assert all(f.readings[k].availability is Availability.FRESH
               for f in later for k in streams if k.modality in (Modality.RGB, Modality.DEPTH))
    radar = [f.readings[SensorKey("node2", Modality.RADAR)].availability for f in later]
    assert set(radar) == {Availability.FRESH, Availability.HELD}
    assert radar.count(Availability.HELD) > radar.count(Availability.FRESH)


def test_one_slow_camera_does_not_slow_the_others() -> None:
    streams = {RGB1: ticks(15, 6.0), RGB2: ticks(9, 6.0), RGB3: ticks(15, 6.0)}
    frames = run(Synchronizer(SyncConfig(), list(streams)), streams, 6.5)
    assert len(frames) == 90
    steady = [f for _, f in frames[1:]]  # before the first frame only one camera was known
    assert {f.readings[RGB2].availability for f in steady} == {Availability.FRESH, Availability.HELD}
    assert {f.readings[RGB3].availability for f in steady} == {Availability.FRESH}


def test_the_slow_camera_as_reference_gives_its_own_rate() -> None:
    streams = {RGB1: ticks(9, 6.0), RGB2: ticks(15, 6.0)}
    frames = run(Synchronizer(SyncConfig(), list(streams)), streams, 6.0)
    assert [f.stamp_ns for _, f in frames] == [ns(t) for t in ticks(9, 6.0)]


def test_a_pair_with_equal_stamps_stays_a_pair() -> None:
    # At 30 Hz the depth image before is within the tolerance too; it must not be taken in haste.
    sync, pairs = Synchronizer(SyncConfig(), [RGB1, DEPTH1]), []
    for t in ticks(30, 3.0):
        pairs += give(sync, RGB1, t, t + 0.010)
        pairs += give(sync, DEPTH1, t, t + 0.015)
    assert len(pairs) == 90
    # The first frame knows no depth at all, the second not yet its rate.
    assert all(f.readings[DEPTH1].stamp_ns == f.stamp_ns for f in pairs[2:])


def test_a_complete_frame_leaves_at_once() -> None:
    sync = Synchronizer(SyncConfig(), [RGB1, DEPTH1])
    give(sync, DEPTH1, 0.0, 0.0)
    give(sync, RGB1, 0.0, 0.001)
    sync.poll(0.08)
    assert give(sync, RGB1, 0.1, 0.1) == []
    (frame,) = give(sync, DEPTH1, 0.101, 0.11)
    assert (frame.stamp_ns, frame.reference) == (ns(0.1), RGB1)
    assert states(frame) == {"node1/rgb": "fresh", "node1/depth": "fresh"}


def test_wait_runs_out() -> None:
    sync = Synchronizer(SyncConfig(), [RGB1, DEPTH1])
    give(sync, DEPTH1, 0.0, 0.0)
    sync.poll(0.09)
    assert give(sync, RGB1, 0.1, 0.1) == []
    assert sync.poll(0.149) == []
    (frame,) = sync.poll(0.1 + 0.05)
    assert states(frame) == {"node1/rgb": "fresh", "node1/depth": "held"}


def test_a_newer_reading_ends_the_wait() -> None:
    sync = Synchronizer(SyncConfig(), [RGB1, DEPTH1])
    give(sync, DEPTH1, 0.0, 0.0)
    sync.poll(0.09)
    assert give(sync, RGB1, 0.1, 0.1) == []
    (frame,) = give(sync, DEPTH1, 0.145, 0.11)  # beyond the tolerance: nothing nearer will come
    assert states(frame)["node1/depth"] == "held"
    assert frame.readings[DEPTH1].stamp_ns == ns(0.0)


@pytest.mark.parametrize(("stamp", "state"), [
    (1.0, "fresh"), (0.96, "fresh"), (1.04, "fresh"), (1.0401, "missing"), (0.9599, "held"), (0.7, "held"),
    (0.6999, "missing")])
def test_limits_of_fresh_and_held(stamp: float, state: str) -> None:
    sync = Synchronizer(SyncConfig(), [RGB1, DEPTH1])
    give(sync, RGB1, 0.1, 0.9)  # the camera leads from the start
    give(sync, DEPTH1, stamp, 0.95)
    (frame,) = give(sync, RGB1, 1.0, 1.0) + sync.poll(1.2)
    assert states(frame)["node1/depth"] == state
    assert frame.readings[DEPTH1].data == (None if state == "missing" else payload(stamp))


def test_nearest_of_past_and_future_wins_and_the_future_is_bounded() -> None:
    def frame_with(*stamps: float) -> SensorFrame:
        sync = Synchronizer(settings(depth=SyncModality(wait_s=0.2)), [RGB1, DEPTH1])
        give(sync, RGB1, 0.5, 0.5)
        give(sync, DEPTH1, 0.5, 0.5)
        frames = give(sync, RGB1, 1.0, 0.9)
        for t in stamps:
            frames += give(sync, DEPTH1, t, 0.95)
        return next(f for f in frames + sync.poll(1.3) if f.stamp_ns == ns(1.0))

    assert frame_with(0.97, 1.01).readings[DEPTH1].stamp_ns == ns(0.97)  # within tolerance: it did not wait
    assert frame_with(0.95, 1.01).readings[DEPTH1].stamp_ns == ns(1.01)
    assert states(frame_with(0.95, 1.041))["node1/depth"] == "held"
    assert states(frame_with(1.041))["node1/depth"] == "missing"
    assert frame_with(1.04).readings[DEPTH1].data == payload(1.04)


def test_offset_is_subtracted() -> None:
    sync = Synchronizer(settings(depth=SyncModality(offset_s=0.2)), [RGB1, DEPTH1])
    give(sync, RGB1, 0.9, 0.9)
    give(sync, DEPTH1, 1.1, 0.95)
    frames = give(sync, RGB1, 1.0, 1.0) + give(sync, DEPTH1, 1.2, 1.01)
    assert frames[-1].readings[DEPTH1].stamp_ns == ns(1.0)
    assert frames[-1].readings[DEPTH1].data == payload(1.2)


def test_a_dead_sensor_costs_its_wait_until_it_counts_as_silent_and_then_nothing() -> None:
    streams = {RGB1: ticks(15, 4.0), DEPTH1: ticks(15, 1.0)}
    frames = run(Synchronizer(SyncConfig(), list(streams)), streams, 4.5)
    assert len(frames) == 60
    for now, frame in frames:
        stamp = (frame.stamp_ns - T0) / 1e9
        latency = now - stamp - 0.01
        assert latency <= 0.055 + 1e-6
        if stamp > 1.0 + 0.5:
            assert latency < 1e-6
            assert states(frame)["node1/depth"] == "missing"


def test_the_next_input_takes_over_and_gives_back() -> None:
    streams = {RGB1: ticks(15, 2.0) + ticks(15, 6.0, 4.0), RGB2: ticks(10, 6.0, 0.01)}
    frames = [f for _, f in run(Synchronizer(SyncConfig(), list(streams)), streams, 6.5)]
    leaders = [(str(f.reference), round((f.stamp_ns - T0) / 1e9, 2)) for f in frames]
    assert {k for k, t in leaders if 0 < t < 2.0} == {"node1/rgb"}
    assert {k for k, t in leaders if 2.0 < t < 4.0} == {"node2/rgb"}
    assert {k for k, t in leaders if t > 4.02} == {"node1/rgb"}
    gaps = np.diff([f.stamp_ns for f in frames]) / 1e9
    assert gaps.min() > 0
    assert gaps.max() < 0.5 + 0.1 + 0.067


def test_poll_alone_hands_over() -> None:
    sync = Synchronizer(SyncConfig(), [RGB1, RGB2])
    give(sync, RGB1, 0.0, 0.0)
    give(sync, RGB1, 0.1, 0.1)
    give(sync, RGB2, 0.45, 0.45)
    assert sync.stats().reference == RGB1
    frames = sync.poll(0.7)
    assert (seconds_of(frames), sync.stats().reference) == ([0.45], RGB2)


def test_silence_of_all_gives_nothing() -> None:
    sync = Synchronizer(SyncConfig(), [RGB1, RGB2])
    assert sync.poll(0.0) == []
    give(sync, RGB1, 0.0, 0.0)
    assert [f for t in range(1, 100) for f in sync.poll(float(t))] == []
    assert sync.stats().reference is None


def test_order_of_reference_is_the_configured_one() -> None:
    config = SyncConfig(reference=(Modality.RADAR, Modality.RGB))
    sync = Synchronizer(config, [DEPTH1, RGB2, RGB1, RADAR1])
    for key in (DEPTH1, RGB1, RGB2, RADAR1):
        give(sync, key, 0.0, 0.0)
    assert sync.stats().reference == RADAR1
    give(sync, DEPTH1, 0.6, 0.6)
    give(sync, RGB1, 0.6, 0.6)
    assert sync.stats().reference == RGB1
    give(sync, RGB2, 0.6, 0.6)
    assert sync.stats().reference == RGB2


def test_a_frozen_driver_is_dead() -> None:
    sync, frames = Synchronizer(SyncConfig(), [RGB1, RGB2]), []
    for t in ticks(15, 3.0):
        frames += give(sync, RGB1, min(t, 1.0), t)  # repeats its last message for ever
        frames += give(sync, RGB2, t + 0.001, t + 0.001)
    assert frames[-1].reference == RGB2
    assert sync.stats().inputs[RGB1].duplicates == 29
    assert max(seconds_of(frames)) > 2.9


def test_duplicates_late_and_out_of_order() -> None:
    sync = Synchronizer(settings(depth=SyncModality(wait_s=0.0)), [RGB1, DEPTH1])
    give(sync, RGB1, 0.0, 0.0)
    for t in (0.10, 0.10, 0.20, 0.15):
        give(sync, DEPTH1, t, 0.2)
    (frame,) = give(sync, RGB1, 0.16, 0.2)
    assert frame.readings[DEPTH1].stamp_ns == ns(0.15)  # it came out of order and was put in its place
    give(sync, RGB1, 0.3, 0.3)
    give(sync, DEPTH1, 0.18, 0.3)  # 0.20 is nearer to all frames after 0.3
    counts = sync.stats().inputs[DEPTH1]
    assert (counts.received, counts.duplicates, counts.late) == (5, 1, 1)


def test_reference_out_of_order_still_gives_ordered_frames() -> None:
    sync = Synchronizer(SyncConfig(), [RGB1, DEPTH1])
    give(sync, DEPTH1, 0.0, 0.0)
    frames = give(sync, RGB1, 0.05, 0.01) + give(sync, RGB1, 0.12, 0.02) + give(sync, RGB1, 0.09, 0.03)
    assert frames == []
    assert seconds_of(sync.poll(0.2)) == [0.05, 0.09, 0.12]


def test_a_bag_that_loops_resets() -> None:
    streams = {RGB1: ticks(15, 3.0), DEPTH1: ticks(15, 3.0), RADAR1: ticks(4, 3.0)}
    sync, stamps = Synchronizer(settings(radar=SyncModality(wait_s=0.0)), list(streams)), []
    for loop in range(3):
        events = sorted((t, str(k), k) for k, s in streams.items() for t in s)
        for t, _, key in events:
            stamps += [f.stamp_ns for f in give(sync, key, t, loop * 3.0 + t + 0.01)]
    assert sync.stats().resets == 2
    backward = [i for i in range(1, len(stamps)) if stamps[i] <= stamps[i - 1]]
    assert len(backward) == 2
    assert len(stamps) >= 3 * 45 - 3


def test_a_small_step_back_is_no_reset() -> None:
    sync = Synchronizer(SyncConfig(), [RGB1])
    frames = []
    for t in (0.0, 0.5, 1.0, 0.2, 1.1):
        frames += give(sync, RGB1, t, 1.0)
    assert (seconds_of(frames), sync.stats().resets) == ([0.0, 0.5, 1.0, 1.1], 0)


def test_reset_keeps_the_new_readings_and_forgets_the_others() -> None:
    sync = Synchronizer(settings(depth=SyncModality(wait_s=0.0)), [RGB1, DEPTH1, RADAR1])
    for key in (RADAR1, DEPTH1, RGB1):
        give(sync, key, 100.0, 0.0)
    assert give(sync, RGB1, 50.0, 0.1) == [] and sync.stats().resets == 0, "most inputs decide"
    (frame,) = give(sync, DEPTH1, 50.01, 0.11)
    assert (seconds_of([frame]), states(frame)) == (
        [50.0], {"node1/rgb": "fresh", "node1/depth": "fresh", "node1/radar": "missing"})
    assert (sync.stats().resets, sync.stats().inputs[RADAR1].buffered) == (1, 0)


@pytest.mark.parametrize("wrong_s", [-HOUR, HOUR, 2.0, -2.0])
@pytest.mark.parametrize("wrong", [RGB1, RGB3])
def test_one_wrong_clock_hurts_only_its_own_input(wrong: SensorKey, wrong_s: float) -> None:
    sync, frames = Synchronizer(SyncConfig(), [RGB1, RGB2, RGB3]), []
    for t in ticks(15, 3.0):
        for i, key in enumerate((RGB1, RGB2, RGB3)):
            frames += give(sync, key, t + (wrong_s if key == wrong else 0.0), t + 0.001 * i)
    right = [f for f in frames if 0 <= f.stamp_ns - T0 <= 3e9][2:]
    assert len(right) >= 41
    others = [k for k in (RGB1, RGB2, RGB3) if k != wrong]
    assert all(f.readings[k].availability is Availability.FRESH for f in right for k in others)
    assert all(f.readings[wrong].availability is Availability.MISSING for f in right)
    assert len(frames) - len(right) <= 4
    assert sync.stats().resets <= 1


def test_one_wrong_stamp_resets_nothing() -> None:
    sync, frames = Synchronizer(SyncConfig(), [RGB1, RGB2, RGB3]), []
    for i, t in enumerate(ticks(15, 3.0)):
        for key in (RGB1, RGB2, RGB3):
            frames += give(sync, key, t + (HOUR if (i, key) == (20, RGB1) else 0.0), t)
    assert sync.stats().resets == 0
    assert len(frames) >= 44 and all(f.stamp_ns < ns(3.0) for f in frames)


def test_too_many_open_frames_send_the_oldest_off() -> None:
    config = SyncConfig(buffer=4, modalities={Modality.DEPTH: SyncModality(wait_s=0.4)})
    sync, frames = Synchronizer(config, [RGB1, DEPTH1]), []
    give(sync, DEPTH1, 0.0, 0.0)
    for i in range(1, 11):
        frames += give(sync, RGB1, 0.05 + 0.01 * i, 0.001 * i)
        assert sync.stats().waiting <= 3
    stats = sync.stats()
    assert (len(frames), stats.hurried, stats.waiting) == (7, 7, 3)
    assert all(f.readings[RGB1].stamp_ns == f.stamp_ns for f in frames)


def test_stats() -> None:
    streams = {RGB1: ticks(15, 4.0), RADAR1: ticks(4, 4.0)}
    sync = Synchronizer(settings(radar=SyncModality(wait_s=0.0)), list(streams))
    frames = run(sync, streams, 4.5)
    stats = sync.stats()
    rgb, radar = stats.inputs[RGB1], stats.inputs[RADAR1]
    assert (rgb.rate_hz, radar.rate_hz) == (pytest.approx(15.0), pytest.approx(4.0))
    assert (rgb.received, radar.received) == (60, 16)
    assert rgb.last_stamp_ns == ns(59 / 15)
    assert rgb.last_arrival_s == pytest.approx(59 / 15 + 0.01)
    for each in (rgb, radar):
        assert each.fresh + each.held + each.missing == stats.frames == len(frames)
    assert radar.held > radar.fresh > 0


def test_refusals() -> None:
    with pytest.raises(ConfigError):
        Synchronizer(SyncConfig(), [])
    with pytest.raises(ConfigError):
        Synchronizer(SyncConfig(), [RGB1, RGB1])
    sync = Synchronizer(SyncConfig(), [RGB1])
    with pytest.raises(InputError, match="node1/rgb"):
        give(sync, RGB2, 0.0)
    with pytest.raises(InputError, match="now_s"):
        sync.poll(float("nan"))
