# SPDX-License-Identifier: Apache-2.0
"""The audio ring against a plain recording, and resampling against known tones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.errors import InputError
from admn_ros.sensing.decode.audio import AudioWindow, resample

RATE = 1000
MS = 1_000_000  # one sample


def ramp(first: int, count: int, channels: int = 2) -> np.ndarray:
    """Return samples with their index (from 1) as value, so that none is silent."""
    values = np.arange(first + 1, first + count + 1, dtype=np.float32)
    return np.stack([values * (c + 1) for c in range(channels)], axis=1)


def end_ns(index: int) -> int:
    """Stamp of sample `index`."""
    return 10_000 * MS + index * MS


def pushed(*chunks: tuple[int, int], capacity_s: float = 0.2, jitter_ms: float = 0.0) -> AudioWindow:
    """A ring after chunks (first index, count)."""
    ring = AudioWindow(capacity_s)
    for i, (first, count) in enumerate(chunks):
        ring.push(ramp(first, count), end_ns(first + count - 1) + round(jitter_ms * (-1) ** i * MS), RATE)
    return ring


def test_window_ends_with_the_chunk_and_starts_with_silence() -> None:
    window = pushed((0, 30), (30, 20)).window(end_ns(49), 0.06)
    assert window.dtype == np.float32
    assert window.shape == (60, 2)
    assert not window[:10].any()
    np.testing.assert_array_equal(window[10:], ramp(0, 50))


def test_window_in_the_past_and_in_the_future() -> None:
    ring = pushed((0, 100))
    np.testing.assert_array_equal(ring.window(end_ns(59), 0.01), ramp(50, 10))
    later = ring.window(end_ns(129), 0.04)
    np.testing.assert_array_equal(later[:10], ramp(90, 10))
    assert not later[10:].any()
    assert not ring.window(end_ns(-1000), 0.1).any()
    assert not ring.window(end_ns(5000), 0.1).any()


@settings(deadline=None)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=40), st.integers(1, 100))
def test_a_steady_stream_is_a_plain_recording(sizes: list[int], length: int) -> None:
    ring, total = AudioWindow(0.1), 0
    for size in sizes:
        ring.push(ramp(total, size), end_ns(total + size - 1), RATE)
        total += size
    expected = np.concatenate([np.zeros((length, 2), np.float32), ramp(0, total)])[-length:]
    np.testing.assert_array_equal(ring.window(end_ns(total - 1), length / 1000), expected)
    assert (ring.stats.gaps, ring.stats.overlaps, ring.stats.resets) == (0, 0, 0)


def test_jitter_of_stamps_leaves_no_seam() -> None:
    ring = pushed(*[(30 * i, 30) for i in range(6)], jitter_ms=9.0)
    np.testing.assert_array_equal(ring.window(end_ns(179) - 9 * MS, 0.18), ramp(0, 180))
    assert (ring.stats.gaps, ring.stats.overlaps) == (0, 0)


def test_jitter_does_not_add_up_from_one_chunk_to_the_next() -> None:
    ring = AudioWindow(1.0)
    for i in range(12):  # neighbours differ by 30 ms, each by 15 ms from the truth
        jitter_ms = 0 if i == 0 else 15 * (-1) ** i
        ring.push(ramp(50 * i, 50), end_ns(50 * i + 49) + jitter_ms * MS, RATE)
    assert (ring.stats.gaps, ring.stats.overlaps) == (0, 0)


def test_drift_of_the_sample_clock_is_followed() -> None:
    ring = AudioWindow(1.0)
    for i in range(2000):  # 1 % slow: after 40 chunks more than the tolerance, were it not followed
        ring.push(ramp(50 * i, 50), end_ns(49) + i * 50 * MS + i * MS // 2, RATE)
    assert ring.stats.gaps == 0
    assert ring.window(end_ns(49) + 1999 * 50 * MS + 1999 * MS // 2, 0.05)[-1, 0] == 100_000


def test_gap_is_silence_of_the_right_length() -> None:
    ring = pushed((0, 50), (80, 50))
    window = ring.window(end_ns(129), 0.13)
    np.testing.assert_array_equal(window[:50], ramp(0, 50))
    assert not window[50:80].any()
    np.testing.assert_array_equal(window[80:], ramp(80, 50))
    assert (ring.stats.gaps, ring.stats.lost_samples) == (1, 30)


def test_gap_longer_than_the_ring_costs_no_memory() -> None:
    ring = pushed((0, 50), (50_000_000, 10))
    window = ring.window(end_ns(50_000_009), 0.2)
    assert not window[:-10].any()
    assert (window[-10:] > 0).all()
    assert ring.stats.lost_samples == 49_999_950


def test_overlap_keeps_each_sample_once() -> None:
    ring = pushed((0, 50), (25, 50))
    np.testing.assert_array_equal(ring.window(end_ns(74), 0.075), ramp(0, 75))
    assert (ring.stats.overlaps, ring.stats.dropped_samples) == (1, 25)


def test_a_chunk_that_comes_twice_or_late_is_dropped() -> None:
    ring = pushed((0, 50), (50, 50), (50, 50), (0, 50), (100, 50))
    np.testing.assert_array_equal(ring.window(end_ns(149), 0.15), ramp(0, 150))
    assert (ring.stats.overlaps, ring.stats.dropped_samples) == (2, 100)


def test_a_jump_back_starts_anew() -> None:
    ring = pushed((5000, 50), (0, 50))
    assert ring.stats.resets == 1
    window = ring.window(end_ns(49), 0.1)
    assert not window[:50].any()
    np.testing.assert_array_equal(window[50:], ramp(0, 50))


def test_another_rate_or_channel_count_starts_anew() -> None:
    ring = pushed((0, 50))
    ring.push(ramp(0, 50, channels=3), end_ns(99), RATE)
    assert ring.window(end_ns(99), 0.05).shape == (50, 3)
    ring.push(ramp(0, 100, channels=3), end_ns(149), 2 * RATE)
    assert ring.sample_rate == 2 * RATE
    assert ring.window(end_ns(149), 0.05).shape == (100, 3)
    assert ring.stats.resets == 2


def test_chunk_longer_than_the_ring() -> None:
    np.testing.assert_array_equal(pushed((0, 900)).window(end_ns(899), 0.2), ramp(700, 200))


def test_window_is_a_copy() -> None:
    ring = pushed((0, 50))
    ring.window(end_ns(49), 0.05)[:] = -1
    assert (ring.window(end_ns(49), 0.05) > 0).all()


def test_window_at_the_rate_of_the_model() -> None:
    ring = AudioWindow(1.0)
    tone = np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000).astype(np.float32)[:, None]
    ring.push(tone, end_ns(1000), 48_000)
    window = ring.window(end_ns(1000), 0.5, 16_000)
    assert window.shape == (8000, 1)
    expected = np.sin(2 * np.pi * 440 * (0.5 + np.arange(8000) / 16_000))
    np.testing.assert_allclose(window[50:-50, 0], expected[50:-50], atol=0.01)


def test_refusals() -> None:
    ring = AudioWindow(1.0)
    with pytest.raises(InputError, match="no chunk so far"):
        ring.window(0, 0.5)
    for shape, rate in (((0, 2), 1000), ((5,), 1000), ((5, 0), 1000), ((5, 1), 0)):
        with pytest.raises(InputError):
            ring.push(np.ones(shape, np.float32), 1, rate)
    ring.push(ramp(0, 5), end_ns(5), RATE)
    for length in (0.0, 1.01, float("nan")):
        with pytest.raises(InputError):
            ring.window(end_ns(5), length)
    with pytest.raises(InputError):
        AudioWindow(0.0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3000, 3000), st.integers(1, 400), st.integers(1, 3),
                          st.sampled_from([8000, 16000])), max_size=30))
def test_any_stream_gives_a_window_of_the_right_shape(chunks: list[tuple[int, int, int, int]]) -> None:
    ring, now = AudioWindow(0.05), 10_000
    for step_ms, size, channels, rate in chunks:
        now = max(1, now + step_ms)
        ring.push(np.ones((size, channels), np.float32), now * MS, rate)
        window = ring.window(now * MS, 0.05)
        assert window.shape == (round(0.05 * rate), channels)
        assert set(np.unique(window)) <= {0.0, 1.0}


@pytest.mark.parametrize(("from_hz", "to_hz"), [(48_000, 16_000), (44_100, 16_000), (8000, 16_000), (15_999, 16_000)])
def test_resampling_keeps_a_tone(from_hz: int, to_hz: int) -> None:
    def tone(rate: int) -> np.ndarray:
        return np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)[:, None].astype(np.float32)

    out = resample(tone(from_hz), from_hz, to_hz)
    assert out.dtype == np.float32
    assert len(out) == to_hz
    middle = slice(200, len(out) - 200)
    np.testing.assert_allclose(out[middle], tone(to_hz)[middle], atol=0.01)


def test_resampling_removes_what_the_lower_rate_cannot_hold() -> None:
    high = np.sin(2 * np.pi * 12_000 * np.arange(24_000) / 48_000)[:, None].astype(np.float32)
    assert np.abs(resample(high, 48_000, 16_000)[200:-200]).max() < 0.01


def test_resampling_keeps_a_constant_up_to_the_edges() -> None:
    np.testing.assert_allclose(resample(np.full((441, 2), 0.5, np.float32), 44_100, 16_000), 0.5, atol=1e-5)


def test_resampling_does_not_ring_where_the_ends_differ() -> None:
    slope = np.linspace(0, 1, 4800, dtype=np.float32)[:, None]
    np.testing.assert_allclose(resample(slope, 48_000, 16_000), slope[::3], atol=0.001)
